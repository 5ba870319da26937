"""Cluster files: what is wrong with one is a sentence, whatever was done to it. ray_up.sh tries the rest for real."""

import copy
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from kdsearch import cluster, lints, remote
from kdsearch.cli import app
from kdsearch.errors import Refusal

ROOT = Path(__file__).parents[1]


def ours(text: str) -> str:
    """The shipped file with the versions that are installed here."""
    here = "{}.{}".format(*sys.version_info)
    return text.replace("2.60.0", metadata.version("ray")).replace("--python 3.11", f"--python {here}")


SHIPPED = ours((ROOT / "cluster.yaml").read_text())
LOCAL = (ROOT / "tests" / "cluster" / "loopback.yaml").read_text().replace("WORK", "/nfs").replace("USER", "me")


def written(folder: Path, text: str) -> Path:
    path = folder / "cluster.yaml"
    path.write_text(text)
    return path


def wrong(folder: Path, text: str) -> str:
    return "\n".join(lints.findings(cluster.read(written(folder, text))))


@pytest.mark.parametrize("text", [SHIPPED, LOCAL])
def test_the_files_that_come_with_kdsearch_look_right(tmp_path, text):
    assert wrong(tmp_path, text) == ""


@pytest.mark.parametrize(
    "right, instead, said",
    [
        ("ray[default]==" + metadata.version("ray"), "ray[default]==2.7.0", "the file installs 2.7.0"),
        ("'ray[default]==" + metadata.version("ray") + "'", "'ray[default]'", "Ray's version must be pinned"),
        ("--python {}.{}".format(*sys.version_info), "--python 3.7", "Python must be the same on every node and here"),
        ("CPU: 4, GPU: 1", "CPU: 4", "'gpu' is a g5.xlarge, which has GPUs, but declares none"),
        ("CPU: 4, GPU: 1", "GPU: 1", "'gpu' must declare its cores"),
        ("g5.xlarge", "m5.xlarge", "'gpu' declares 1 GPUs, but a m5.xlarge has none"),
        ("InstanceType: g5.xlarge", "EbsOptimized: true", "'gpu' must name its machine"),
        ("ImageId: *image", "EbsOptimized: true", "'gpu' must name its ImageId"),
        ("s3://MY-BUCKET/kdsearch", "results", "KDSEARCH_STORAGE is 'results'"),
        ("export KDSEARCH_STORAGE", "export SOMETHING", "no command sets it"),
        ("resources: {CPU: 0}", "resources: {CPU: 2}", "The head must run no trials"),
        ("idle_timeout_minutes: 10", "idle_timeout_minutes: 0", "3 to 120"),
        ("idle_timeout_minutes: 10", "idle_timeout_minutes: 1000", "3 to 120"),
        ("    max_workers: 8 #", "    max_workers: 0 #", "there are no workers"),
        ("kdsearch", "other", "kdsearch must be on every node"),
        ("--autoscaling-config=~/ray_bootstrap_config.yaml", "", "must know this file to start workers"),
        ("ray start --head", "ray start --head --dashboard-host=0.0.0.0", "lets anyone"),
    ],
)
def test_each_rule_says_what_breaks_it(tmp_path, right, instead, said):
    assert right in SHIPPED
    text = SHIPPED.replace(right, instead)
    assert said in wrong(tmp_path, text)


def test_too_many_workers_at_least_are_refused(tmp_path):
    text = SHIPPED.replace("max_workers: 8", "max_workers: 3").replace("min_workers: 0", "min_workers: 5")
    with pytest.raises(Refusal, match="max_workers"):
        cluster.read(written(tmp_path, text))
    text = SHIPPED.replace("    max_workers: 8", "    max_workers: 3").replace("min_workers: 0", "min_workers: 5")
    assert "'gpu' has 5 and 3" in wrong(tmp_path, text)


def test_a_local_head_without_trials_says_so_to_ray_itself(tmp_path):
    assert "--num-cpus=0" in wrong(tmp_path, LOCAL.replace("--head --num-cpus=0", "--head"))


def test_images_bear_versions_too():
    config = yaml.safe_load(SHIPPED) | {"docker": {"image": "rayproject/ray:2.7.0-py37-gpu", "container_name": "ray"}}
    found = "\n".join(lints.findings(config))
    assert "installs 2.7.0" in found and "installs 3.7" in found


@pytest.mark.parametrize(
    "text, said",
    [
        ("a: [", "is not YAML"),
        ("- a", "must be a table of settings, but is list"),
        ("", "but is NoneType"),
        ("a: 2024-13-45", "is not YAML"),
        ("[" * 5000, "is not YAML"),
        ("cluster_name: a", "where its machines are"),
        ("cluster_name: a\nprovider: {type: moon}", "Unsupported node provider: moon"),
        ("provider: {type: aws}\nhead_node_type: a", "`head_node_type` must be one of"),
        ("cluster_name: a\nprovider: {type: aws}\nmin_worker: 1", "'min_worker' was unexpected"),
        (
            "cluster_name: a\nprovider: {type: aws}\nmax_workers: many",
            "at max_workers: 'many' is not of type 'integer'",
        ),
        ("cluster_name: a\nprovider: {type: local}", "Please supply a `head_ip`"),
        ("cluster_name: a\nprovider: {type: aws}\navailable_node_types: &a [*a]", "Ray does not take"),
    ],
)
def test_what_is_no_cluster_file_is_a_sentence(tmp_path, text, said, capsys):
    with pytest.raises(Refusal, match=r"cluster\.yaml") as refused:
        cluster.read(written(tmp_path, text))
    assert said in str(refused.value) and len(str(refused.value)) < 500
    assert capsys.readouterr() == ("", "")


def test_a_file_that_is_not_text_or_not_there_is_a_sentence(tmp_path):
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00a")
    for name, said in (("bytes.yaml", "is not YAML"), ("none.yaml", "cannot be read"), (".", "cannot be read")):
        with pytest.raises(Refusal, match=said):
            cluster.read(tmp_path / name)


def places(value: object, path: tuple = ()) -> list[tuple]:
    """Where something stands in a nested table: every key and index."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here for key, inner in pairs for here in [(*path, key), *places(inner, (*path, key))]]


ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["local", "gcp", "~"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=5,
)
MUTATED = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def looked_at(path: Path) -> None:
    """All that kdsearch does with a cluster file before it contacts anybody."""
    try:
        config = cluster.read(path)
        assert all(sentence.endswith(".") for sentence in lints.findings(config))
        for look in (lints.placeholders, lints.summary, cluster.storage, cluster.gpus, cluster.dashboard):
            look(config)
    except Refusal as error:
        assert str(error)


@MUTATED
@given(st.data())
def test_no_changed_value_leads_to_a_traceback(tmp_path, data):
    config = copy.deepcopy(yaml.safe_load(data.draw(st.sampled_from([SHIPPED, LOCAL]))))
    for _ in range(data.draw(st.integers(1, 3))):
        *path, last = data.draw(st.sampled_from(places(config)))
        inside = config
        for key in path:
            inside = inside[key]
        if data.draw(st.booleans()):
            inside[last] = data.draw(ODD)
        else:
            del inside[last]
    looked_at(written(tmp_path, yaml.safe_dump(config)))


@MUTATED
@given(st.integers(0, len(SHIPPED)), st.integers(0, 40), st.text(max_size=20))
def test_no_changed_text_leads_to_a_traceback(tmp_path, start, length, instead):
    path = tmp_path / "cluster.yaml"
    path.write_bytes((SHIPPED[:start] + instead + SHIPPED[start + length :]).encode("utf-8", "surrogatepass"))
    looked_at(path)


def kdsearch(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    call = [sys.executable, "-m", "kdsearch.cli", *words]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(call, cwd=cwd, env=env, capture_output=True, text=True, timeout=60)


def test_check_ends_with_what_there_is_and_0_or_with_the_sentences_and_2(tmp_path):
    path = str(written(tmp_path, SHIPPED))
    right = kdsearch("cluster", "check", path)
    assert right.returncode == 0 and "9 nodes at most, 1 GPU each worker: looks right, once" in right.stdout
    text = SHIPPED.replace("s3://MY-BUCKET", "s3://mine").replace("OWNER", "me").replace("123456789012", "999999999999")
    written(tmp_path, text)
    assert kdsearch("cluster", "check", path).stdout.endswith("1 GPU each worker: looks right\n")
    written(tmp_path, text.replace("CPU: 0", "CPU: 2").replace("CPU: 4, GPU: 1", "CPU: 4"))
    broken = kdsearch("cluster", "check", path)
    assert broken.returncode == 2 and len(broken.stdout.splitlines()) == 2
    assert "breaks 2 rules" in broken.stderr and "Traceback" not in broken.stderr


def test_the_head_knows_its_cluster_and_other_machines_do_not(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cluster.on_head() is None
    (tmp_path / "ray_bootstrap_config.yaml").write_text(SHIPPED)
    found = cluster.on_head()
    assert found is not None and cluster.gpus(found) == 1
    for text in ("a: [", "- a", "a: 2024-13-45"):
        (tmp_path / "ray_bootstrap_config.yaml").write_text(text)
        assert cluster.on_head() is None


@pytest.mark.parametrize(
    "typed, sent",
    [
        ("tune depth_vs_hint --trials 3", "tune depth_vs_hint --trials 3"),
        ("tune depth_vs_hint --set a=1 --set b=2 --dry-run", "tune depth_vs_hint --set a=1 --set b=2 --dry-run"),
        ("tune --results s3://b/x depth_vs_hint", "tune depth_vs_hint --results s3:/b/x"),
        ("status depth_vs_hint --json", "status depth_vs_hint --json"),
    ],
)
def test_the_same_words_are_sent_and_no_defaults(monkeypatch, typed, sent):
    heard = []
    monkeypatch.setattr(remote, "tune", lambda file, words, *_: heard.append(words) or 0)
    monkeypatch.setattr(remote, "status", lambda file, words: heard.append(words) or 0)
    assert CliRunner().invoke(app, [*typed.split(), "--cluster", "c.yaml"]).exit_code == 0
    assert sorted(heard[0]) == sorted(sent.split())


def test_storage_and_gpus_come_from_the_file_unless_they_were_typed():
    config = cluster.read(ROOT / "cluster.yaml")
    words = ["tune", "a"]
    assert remote.with_storage(words, config, Path("c")) == [*words, "--storage", "s3://MY-BUCKET/kdsearch"]
    assert remote.with_storage([*words, "--storage", "/nfs"], config, Path("c")) == [*words, "--storage", "/nfs"]
    assert remote.with_gpus(words, config) == [*words, "--gpus-per-trial", "1"]
    assert remote.with_gpus([*words, "--gpus-per-trial", "0.1"], config) == [*words, "--gpus-per-trial", "0.1"]
    assert remote.with_gpus(words, {}) == words
    with pytest.raises(Refusal, match="does not set KDSEARCH_STORAGE"):
        remote.with_storage(words, {}, Path("c"))


def test_only_what_the_head_says_is_shown_and_its_exit_code_is_kept(monkeypatch):
    said = [
        "Fetched IP",
        f"Running `echo '{remote.BEGIN}'; x; echo '{remote.END}'`",
        "",
        remote.BEGIN,
        "one",
        "",
        "two",
    ]
    monkeypatch.setattr(
        remote, "_lines", lambda words: iter([*said, f"tail{remote.END}3", "Shared connection closed."])
    )
    shown: list[str] = []
    assert remote.on_head(Path("c.yaml"), "x", shown.append) == 3 and shown == ["one", "", "two", "tail"]
    monkeypatch.setattr(remote, "_lines", lambda words: iter([*said[:3], "\x1b[31mno route\x1b[0m", ""]))
    with pytest.raises(Refusal, match=r"'c.yaml' does not answer \(no route\); is it up\?"):
        remote.on_head(Path("c.yaml"), "x", shown.append)


def test_a_view_that_ends_leaves_the_job_and_says_how_to_find_it(monkeypatch, capsys):
    def cut(file, command, show):
        show("Ray says")
        show(remote.JOB_BEGIN)
        show("kdsearch says")
        raise KeyboardInterrupt

    monkeypatch.setattr(remote, "on_head", cut)
    assert remote._follow(Path("c.yaml"), "ray job logs", "Look: here") == 130
    out, err = capsys.readouterr()
    assert out == "kdsearch says\n" and "the job goes on" in err and "Look: here" in err


@pytest.mark.parametrize("last, code", [(remote.JOB_END + "0", 0), (remote.JOB_END + "2", 2), ("Job 'x' stopped", 1)])
def test_the_exit_code_is_the_jobs(monkeypatch, last, code):
    monkeypatch.setattr(remote, "on_head", lambda file, command, show: [show(remote.JOB_BEGIN), show(last)])
    assert remote._follow(Path("c.yaml"), "ray job logs", "") == code


def test_a_users_space_file_travels_in_the_jobs_folder(tmp_path, monkeypatch):
    own = tmp_path / "my space.py"
    own.write_text("# here")
    sent: dict[str, str] = {}

    def ray(words):
        folder = Path(words[2])
        sent.update({str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()})

    monkeypatch.setattr(remote, "_ray", ray)
    remote.send(Path("c.yaml"), "job", ["kdsearch", "tune", "./my space.py"], own)
    assert sent["job/my space.py"] == "# here" and "kdsearch tune './my space.py'" in sent["job/run.sh"]
    done = subprocess.run(["bash", "-s"], input=sent["job/run.sh"].replace("kdsearch tune", "false"), text=True)
    assert done.returncode == 1


def test_without_rays_launcher_the_way_out_is_said(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Refusal, match=r"pip install 'kdsearch\[cluster\]'"):
        remote.status(ROOT / "cluster.yaml", ["status", "a"])


@pytest.mark.parametrize(
    "typed, said", [("./mine.py", "no space file"), ("digits --data ./photos", "but is './photos'")]
)
def test_what_the_cluster_could_not_find_is_refused_before_anything_is_sent(monkeypatch, typed, said):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    words = ["tune", *typed.split()]
    with pytest.raises(Refusal, match=said):
        remote.tune(ROOT / "cluster.yaml", words, words[1], None)


@pytest.mark.cluster
def test_a_real_ray_up_over_ssh_to_loopback():
    done = subprocess.run([ROOT / "tests" / "cluster" / "ray_up.sh"], capture_output=True, text=True, timeout=900)
    if done.returncode == 77:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout + done.stderr
