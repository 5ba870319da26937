"""How long a network takes."""

import sys
import time

import numpy as np
import pytest

from kdsearch.config.net import Net, Own, ResNet
from kdsearch.nets import latency
from kdsearch.storage import cache

SMALL, LARGE = Net(depth=3, widths=(4, 4, 4), hidden=8), Net(depth=3, widths=(64, 64, 64), hidden=64)
IMAGE = (1, 16, 16)


@pytest.fixture(autouse=True)
def fresh(tmp_path, monkeypatch):
    monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path))
    latency._runnable.cache_clear()


def test_a_smaller_network_is_faster_and_its_ratio_is_of_the_same_rounds():
    found = latency.beside(SMALL, LARGE, IMAGE, 10)
    assert found.ratio > 1 and found.teacher == pytest.approx(found.ratio * found.microseconds)
    assert latency.beside(LARGE, LARGE, IMAGE, 10).ratio == pytest.approx(1, rel=0.3)


def test_an_architecture_is_measured_once(monkeypatch):
    found = latency.beside(SMALL, LARGE, IMAGE, 10)
    (kept,) = cache.entries(cache.folder() / "latency")
    monkeypatch.setattr(latency, "passes", None)
    assert latency.beside(SMALL, LARGE, IMAGE, 10) == found
    kept.path.write_text("{")
    with pytest.raises(TypeError):  # measured again
        latency.beside(SMALL, LARGE, IMAGE, 10)


@pytest.mark.parametrize(
    "changed", [{"net": LARGE}, {"teacher": SMALL}, {"image": (1, 8, 8)}, {"classes": 3}, {"machine": "another"}]
)
def test_what_is_kept_belongs_to_the_networks_the_image_and_the_machine(monkeypatch, changed):
    made = []
    monkeypatch.setattr(latency, "_beside", lambda *told: made.append(told) or latency.Latency(1, 1, 1, 1, 1))
    told = {"net": SMALL, "teacher": LARGE, "image": IMAGE, "classes": 10}
    latency.beside(**told)
    if "machine" in changed:
        monkeypatch.setattr(cache, "machine", lambda: changed["machine"])
    latency.beside(**(told | {name: value for name, value in changed.items() if name != "machine"}))
    assert len(made) == 2


def test_a_user_s_network_is_the_same_wherever_its_file_lies_and_whatever_its_weights(monkeypatch):
    monkeypatch.setattr(latency, "_beside", lambda *told: latency.Latency(1, 1, 1, 1, 1))
    for place, weights in (("/a/my.py:net", None), ("/b/my.py:net", "w.pt")):
        net = Own(kind="own", factory=place, source="1", weights=weights, weights_hash="2" if weights else "")
        latency.beside(net, LARGE, IMAGE, 10)
    assert len(cache.entries(cache.folder() / "latency")) == 1


def test_what_the_thread_does_not_do_is_not_its_time():
    def sleeping(pixels: np.ndarray) -> None:
        time.sleep(0.002)

    def working(pixels: np.ndarray) -> None:
        end = time.thread_time() + 0.001
        while time.thread_time() < end:
            pass

    found = latency.passes({"s": (sleeping, np.zeros(1)), "w": (working, np.zeros(1))}, rounds=4)
    assert found["s"] < 500 and found["w"] == pytest.approx(1000, rel=0.2)


def test_a_time_is_of_one_image_of_those_that_are_given_together():
    def working(pixels: np.ndarray) -> None:
        end = time.thread_time() + 0.001
        while time.thread_time() < end:
            pass

    found = latency.passes({"w": (working, np.zeros(10))}, rounds=3)
    assert found["w"] == pytest.approx(100, rel=0.3)


def test_without_onnxruntime_pytorch_is_measured_and_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert latency.runtime().startswith("torch ") and latency.runtime().endswith(" eager")
    found = latency.beside(ResNet(kind="resnet", widths=(8,), blocks=1), ResNet(kind="resnet", widths=(32,)), IMAGE, 3)
    assert found.ratio > 1
