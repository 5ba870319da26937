"""A config's seeds, without training one."""

from types import SimpleNamespace
from typing import Any

import torch
from helpers import MADE, pipeline

from kdsearch.distill.pipeline import Row
from kdsearch.distill.train import Judged
from kdsearch.search import replicate
from kdsearch.search.progress import Step
from kdsearch.search.recipe import config_text


def test_a_seed_s_epochs_are_steps_and_its_student_tells_what_did_not_teach(monkeypatch):
    shares = [("hint", 1, {"hint": 1.0}), ("kd", 2, {"labels": 0.9, "kd": 0.0002}), ("kd", 3, {"labels": 1, "kd": 0})]
    rows = [Row(1, stage, epoch, None, 0.1 * epoch, 1.0, {}, share) for stage, epoch, share in shares]
    recording = Row(0, "record", 0, None, None, 1.0, {}, {})
    monkeypatch.setattr(replicate.distill_pipeline, "untrained", lambda *_: None)
    monkeypatch.setattr(replicate.distill_pipeline, "run", lambda *_: iter([recording, *rows]))
    judged = Judged(torch.tensor([[3, 7], [0, 0]]))
    monkeypatch.setattr(replicate, "validated", lambda *_: judged)
    means: Any = SimpleNamespace(images=None, seen=lambda net: None)
    *steps, student = replicate._replicate(pipeline().with_seed(5), None, means, None)
    assert steps[1] == Step("link 1, seed 5", epoch=2, epochs=4, accuracy=0.2, stage="kd") and len(steps) == 3
    assert isinstance(student, replicate.Student)
    assert student.seed == 5 and student.accuracy == 0.3 and student.faint == ("kd: kd",)


def test_who_edited_the_student_s_file_hears_that_the_kept_one_is_trained(tmp_path, monkeypatch, capsys):
    (tmp_path / "config.yaml").write_text(config_text(pipeline().model_dump(mode="json"), MADE, "A trial."))
    monkeypatch.setattr(replicate, "replicates", lambda *_: iter([Step("link 1, seed 0", epoch=1, epochs=2)]))
    monkeypatch.setattr(replicate, "changed", lambda folder: f"my_nets.py:student has changed; it is in {folder}/code")
    replicate.train(tmp_path / "config.yaml", results=tmp_path)
    told = " ".join(capsys.readouterr().out.split())
    assert f"Warning: my_nets.py:student has changed; it is in {tmp_path}/code, and so it is trained." in told
