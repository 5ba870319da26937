"""From a laptop: what is sent to a cluster, what is shown of its answer. ray_up.sh tries it for real."""

import subprocess
from pathlib import Path

import pytest
from clusters import ROOT
from typer.testing import CliRunner

from kdsearch.cli.app import app
from kdsearch.cluster import file as cluster_file
from kdsearch.cluster import head, remote
from kdsearch.errors import Refusal


@pytest.mark.parametrize(
    "typed, sent",
    [
        ("tune depth_vs_hint --trials 3", "tune depth_vs_hint --trials 3"),
        ("tune depth_vs_hint --set a=1 --set b=2 --dry-run", "tune depth_vs_hint --set a=1 --set b=2 --dry-run"),
        ("tune --results /nfs/x depth_vs_hint", "tune depth_vs_hint --results /nfs/x"),
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
    config = cluster_file.read(ROOT / "cluster.yaml")
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
        f"Running `echo '{head.BEGIN}'; x; echo '{head.END}'`",
        "",
        head.BEGIN,
        "one",
        "",
        "two",
    ]
    monkeypatch.setattr(head, "_lines", lambda words: iter([*said, f"tail{head.END}3", "Shared connection closed."]))
    shown: list[str] = []
    assert head.run(Path("c.yaml"), "x", shown.append) == 3 and shown == ["one", "", "two", "tail"]
    monkeypatch.setattr(head, "_lines", lambda words: iter([*said[:3], "\x1b[31mno route\x1b[0m", ""]))
    with pytest.raises(Refusal, match=r"'c.yaml' does not answer \(no route\); is it up\?"):
        head.run(Path("c.yaml"), "x", shown.append)


def test_a_view_that_ends_leaves_the_job_and_says_how_to_find_it(monkeypatch, capsys):
    def cut(file, command, show):
        show("Ray says")
        show(remote.JOB_BEGIN)
        show("kdsearch says")
        raise KeyboardInterrupt

    monkeypatch.setattr(head, "run", cut)
    assert remote._follow(Path("c.yaml"), "ray job logs", "Look: here") == 130
    out, err = capsys.readouterr()
    assert out == "kdsearch says\n" and "the job goes on" in err and "Look: here" in err


@pytest.mark.parametrize("last, code", [(remote.JOB_END + "0", 0), (remote.JOB_END + "2", 2), ("Job 'x' stopped", 1)])
def test_the_exit_code_is_the_jobs(monkeypatch, last, code):
    monkeypatch.setattr(head, "run", lambda file, command, show: [show(remote.JOB_BEGIN), show(last)])
    assert remote._follow(Path("c.yaml"), "ray job logs", "") == code


def test_a_users_space_file_travels_in_the_jobs_folder(tmp_path, monkeypatch):
    own = tmp_path / "my space.py"
    own.write_text("# here")
    sent: dict[str, str] = {}

    def ray(words):
        folder = Path(words[2])
        sent.update({str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()})

    monkeypatch.setattr(head, "ray", ray)
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
