"""Cluster files, whatever was done to them, are read or refused in a sentence; a real one is tried by ray_up.sh."""

import copy
import subprocess
from pathlib import Path

import pytest
import yaml
from clusters import LOCAL, ROOT, SHIPPED, written
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdsearch.cluster import file, lints, session
from kdsearch.errors import Refusal


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
        ("cluster_name: a\nprovider: {type: aws}\navailable_node_types: &a [*a]", "more than 100,000 values"),
        ("apiVersion: v1\n---\nkind: RayCluster", "several documents, as Kubernetes manifests do, but a cluster file"),
        ("apiVersion: ray.io/v1\nkind: RayCluster", "is a Kubernetes manifest (RayCluster), but a cluster file is one"),
    ],
)
def test_what_is_no_cluster_file_is_a_sentence(tmp_path, text, said, capsys):
    with pytest.raises(Refusal, match=r"cluster\.yaml") as refused:
        file.read(written(tmp_path, text))
    assert said in str(refused.value) and len(str(refused.value)) < 500
    assert capsys.readouterr() == ("", "")


def test_resources_may_be_left_to_ray_where_its_provider_finds_them_out(tmp_path):
    kind = {"node_config": {"InstanceType": "g4dn.xlarge", "ImageId": "ami-0123456789abcdef0"}, "max_workers": 2}
    plain = {
        "cluster_name": "photos", "max_workers": 2, "provider": {"type": "aws", "region": "eu-west-2"},
        "auth": {"ssh_user": "ubuntu"}, "head_node_type": "head",
        "available_node_types": {"head": {**kind, "resources": {"CPU": 0}}, "worker": kind},
    }  # fmt: skip
    assert set(file.workers(file.read(written(tmp_path, yaml.safe_dump(plain))))) == {"worker"}


def test_a_file_that_is_not_text_or_not_there_is_a_sentence(tmp_path):
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00a")
    for name, said in (("bytes.yaml", "is not YAML"), ("none.yaml", "cannot be read"), (".", "cannot be read")):
        with pytest.raises(Refusal, match=said):
            file.read(tmp_path / name)


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
        config = file.read(path)
        assert all(sentence.endswith(".") for sentence in lints.findings(config))
        for look in (lints.placeholders, lints.summary, file.storage, file.gpus, file.dashboard):
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


def test_the_head_knows_its_cluster_and_other_machines_do_not(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert file.on_head() is None
    (tmp_path / "ray_bootstrap_config.yaml").write_text(SHIPPED)
    found = file.on_head()
    assert found is not None and file.gpus(found) == 1


@pytest.mark.parametrize("text", [b"\xff\xfe", b"a: [", b"- a", b"", b"a: 2024-13-45", b"[" * 5000])
def test_a_head_whose_file_is_damaged_does_not_run_a_search_alone(tmp_path, monkeypatch, text):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (tmp_path / "ray_bootstrap_config.yaml").write_bytes(text)
    said = "ray_bootstrap_config.yaml' .*; `ray up` wrote it on a cluster's head: run that again, or remove it where"
    with pytest.raises(Refusal, match=said) as refused:
        session.start_ray()
    assert len(str(refused.value)) < 600


@MUTATED
@given(st.data())
def test_gpus_are_counted_whatever_the_head_was_given(data):
    config = yaml.safe_load(SHIPPED)
    inside = data.draw(st.sampled_from([config, config["available_node_types"], config["available_node_types"]["gpu"]]))
    inside[data.draw(st.sampled_from(sorted(inside)))] = data.draw(ODD)
    assert file.gpus(config) in (0, 1)


@pytest.mark.cluster
def test_a_real_ray_up_over_ssh_to_loopback():
    done = subprocess.run([ROOT / "tests" / "cluster" / "ray_up.sh"], capture_output=True, text=True, timeout=900)
    if done.returncode == 77:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout + done.stderr
