"""The benchmarks run and end with their numbers; what the numbers are is another machine's matter."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from kdsearch.papers import METHODS

pytestmark = pytest.mark.benchmark
HERE = Path(__file__).parents[1] / "benchmarks"


def last_line(name: str, *words: object) -> dict:
    call = [sys.executable, HERE / name, *map(str, words)]
    done = subprocess.run(call, capture_output=True, text=True, env={**os.environ, "COLUMNS": "100"})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_step_s_benchmark_ends_with_images_a_second_of_both_sides():
    found = last_line("kd_step.py", "--data", "digits", "--images", 100, "--rounds", 1, "--batch-size", 50)
    kinds = ("labels", "kd", "hint", "hint_1_3")
    assert found["images"] == 100
    assert all(found[f"{side}{kind}_images_per_s"] > 0 for kind in kinds for side in ("", "textbook_", "float32_"))
    assert {"kd_over_labels", "recording_over_forward", "together_2_images_per_s"} <= set(found)


def test_the_methods_benchmark_ends_with_what_an_epoch_of_each_costs():
    words = ("--data", "digits", "--images", 100, "--rounds", 1, "--batch-size", 50)
    found = last_line("methods.py", *words)
    assert {"KD", "AT", "RKD-A", "FSP, joint", "BSS", "BSS, recorded", "DML", "ONE", "BYOT"} <= set(found)
    assert all(found[name] > 0 for name in METHODS)


def test_a_search_of_trials_that_do_nothing_completes_them():
    found = last_line("trial_overhead.py", "--child", "ours", 3)
    assert found["startup"] > 0 and found["seconds"] > 0 and found["memory"] > 0


def test_the_accuracy_benchmark_compares_views_and_precisions(tmp_path):
    words = ("--data", "digits", "--images", 60, "--epochs", 2, "--teacher-epochs", 1, "--seeds", 1)
    found = last_line("accuracy.py", *words, "--store", tmp_path)
    assert len(found) == 12 and all(0 <= value <= 1 for values in found.values() for value in values)


def test_the_stopping_rules_are_compared_on_every_table():
    found = last_line("early_stopping.py", "--seeds", 2, "--trials", 15)
    tables = {path.stem for path in (HERE / "tables").glob("*.parquet")}
    assert tables >= {"digits"} and set(found["against_none_asha_killed"]) == {
        f"{name}_{budget}" for name in (*tables, "slow") for budget in (18, 55)
    }
    assert found["judge_ms"] > 0 and found["suggest_ms"] > 0


def test_a_live_search_is_compared_with_one_that_stops_none():
    more = ("--", "--epochs", 6, "--teacher-epochs", 1, "--set", "data.images=400", "--max-concurrent", 1)
    found = last_line("live_search.py", "--trials", 2, "--seeds", 1, *more)
    assert 0 < found["median_epochs"] <= 1 and found["median_hypervolume"] > 0


def test_a_search_is_driven_without_ray_and_with_it():
    more = ("--ray-trials", 8, "--ray-concurrent", 2, "--pause", 0.01)
    found = last_line("scale.py", "--trials", 60, "--concurrent", 5, *more)
    look, own = found["simulated"]["looks"]["60"], found["ray"]
    assert all(look[step] > 0 for step in ("mb", "suggest", "tpe", "verdict", "report", "write", "optuna.journal"))
    assert found["simulated"]["complete"] > 3 and found["simulated"]["journal_s"] > 0
    assert own["trials"] == 8 and own["reports_per_s"] > 0 and own["end_mb"] > 0


def test_the_benchmark_of_images_reads_a_folder_mapped_held_and_cold(tmp_path, monkeypatch):
    monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path / "cache"))
    for number in range(300):
        path = tmp_path / "photos" / "train" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((16, 16), 50).convert("RGB").save(path)
    found = last_line("data.py", tmp_path / "photos", "--memory", 0.0005)
    assert found["large_bytes"] > 3 * 0.0005e9 and found["ready_cpu_s"] > 0
    assert all(found[f"{kind}_images_s"] > 0 for kind in ("mapped", "held", "cold", "cold_plain"))


def test_the_benchmark_of_latency_ends_with_times_ratios_and_costs():
    found = last_line("latency.py", "--repeat", 2, "--busy", 1, "--architectures", 2)
    assert len(found["microseconds"]) == 3 and len(found["ratios"]) == 2 and all(one > 1 for one in found["ratios"])
    assert all(own["1"] > 0 < own["32"] for kinds in found["microseconds"].values() for own in kinds.values())
    assert len(found["cpu_s"]) == 1 and sum(found["again_cpu_s"]) < 0.5 < found["first_cpu_s"]
