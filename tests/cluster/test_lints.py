"""The rules for cluster files: each one says what breaks it."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from clusters import LOCAL, ROOT, SHIPPED, written

from kdsearch.cluster import file, lints
from kdsearch.errors import Refusal


def wrong(folder: Path, text: str) -> str:
    return "\n".join(lints.findings(file.read(written(folder, text))))


@pytest.mark.parametrize("text", [SHIPPED, LOCAL])
def test_the_files_that_come_with_kdsearch_look_right(tmp_path, text):
    assert wrong(tmp_path, text) == ""


@pytest.mark.parametrize(
    "right, instead, said",
    [
        ("ray[default]==" + metadata.version("ray"), "ray[default]==2.7.0", "the file installs 2.7.0"),
        ("'ray[default]==" + metadata.version("ray") + "'", "'ray[default]'", "Ray's version must be pinned"),
        ("--python {}.{}".format(*sys.version_info), "--python 3.7", "Python must be the same on every node and here"),
        ("s3://MY-BUCKET/kdsearch", "results", "KDSEARCH_STORAGE is 'results'"),
        ("export KDSEARCH_STORAGE", "export SOMETHING", "no command sets it"),
        ("resources: {CPU: 0}", "resources: {CPU: 2}", "The head must run no trials"),
    ],
)
def test_each_rule_says_what_breaks_it(tmp_path, right, instead, said):
    assert right in SHIPPED
    text = SHIPPED.replace(right, instead)
    assert said in wrong(tmp_path, text)


def test_too_many_workers_at_least_are_refused(tmp_path):
    text = SHIPPED.replace("max_workers: 8", "max_workers: 3").replace("min_workers: 0", "min_workers: 5")
    with pytest.raises(Refusal, match="max_workers"):
        file.read(written(tmp_path, text))


def test_a_local_head_without_trials_says_so_to_ray_itself(tmp_path):
    assert "--num-cpus=0" in wrong(tmp_path, LOCAL.replace("--head --num-cpus=0", "--head"))


def test_images_bear_versions_too():
    config = yaml.safe_load(SHIPPED) | {"docker": {"image": "rayproject/ray:2.7.0-py37-gpu", "container_name": "ray"}}
    found = "\n".join(lints.findings(config))
    assert "installs 2.7.0" in found and "installs 3.7" in found


def kdsearch(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    call = [sys.executable, "-m", "kdsearch.cli", *words]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(call, cwd=cwd, env=env, capture_output=True, text=True, timeout=60)


def test_check_ends_with_what_there_is_and_0_or_with_the_sentences_and_2(tmp_path):
    path = str(written(tmp_path, SHIPPED))
    right = kdsearch("cluster", "check", path)
    assert right.returncode == 0 and "9 nodes at most, 1 GPU each worker: looks right, once" in right.stdout
    assert right.stderr == ""
    text = SHIPPED.replace("s3://MY-BUCKET", "s3://mine").replace("OWNER", "me").replace("123456789012", "999999999999")
    written(tmp_path, text)
    assert kdsearch("cluster", "check", path).stdout.endswith("1 GPU each worker: looks right\n")
    written(tmp_path, text.replace("CPU: 0", "CPU: 2").replace("s3://mine", "mine"))
    broken = kdsearch("cluster", "check", path)
    assert broken.returncode == 2 and len(broken.stdout.splitlines()) == 2
    assert "breaks 2 rules" in broken.stderr and "Traceback" not in broken.stderr


def test_init_writes_the_shipped_file_and_overwrites_nothing(tmp_path):
    done = kdsearch("cluster", "init", cwd=tmp_path)
    assert done.returncode == 0 and "kdsearch cluster check cluster.yaml" in done.stdout
    assert (tmp_path / "cluster.yaml").read_bytes() == file.SHIPPED.read_bytes()
    (tmp_path / "cluster.yaml").write_text("mine")
    again = kdsearch("cluster", "init", "cluster.yaml", cwd=tmp_path)
    assert again.returncode == 2 and "'cluster.yaml' exists; name another" in again.stderr
    assert (tmp_path / "cluster.yaml").read_text() == "mine"
