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


def test_a_smaller_network_is_faster_and_its_ratio_is_of_the_same_times():
    found = latency.beside(SMALL, LARGE, IMAGE, 10)
    assert found.ratio > 1 and found.teacher == pytest.approx(found.ratio * found.microseconds)
    other = latency.beside(LARGE, SMALL, IMAGE, 10)
    assert other.ratio == pytest.approx(1 / found.ratio) and other.microseconds == found.teacher
    assert latency.beside(LARGE, LARGE, IMAGE, 10).ratio == 1


def test_an_architecture_is_measured_once_whoever_its_teacher_is(monkeypatch):
    found = latency.beside(SMALL, LARGE, IMAGE, 10)
    assert len(cache.entries(cache.folder() / "latency")) == 2
    monkeypatch.setattr(latency, "timed", None)
    assert latency.beside(SMALL, LARGE, IMAGE, 10) == found
    for entry in cache.entries(cache.folder() / "latency"):
        entry.path.write_text("{")
    with pytest.raises(TypeError):  # measured again
        latency.beside(SMALL, LARGE, IMAGE, 10)


def counted(monkeypatch) -> list[str]:
    """What is measured from here on; nothing takes time."""
    made: list[str] = []
    monkeypatch.setattr(latency, "timed", lambda run, image: made.append("net") or latency.Times(20, 5))
    monkeypatch.setattr(latency, "_runnable", lambda net, image, classes: (None, image))
    return made


@pytest.mark.parametrize("changed", [{"image": (1, 8, 8)}, {"classes": 3}, {"machine": "another"}, {"runtime": "r"}])
def test_what_is_kept_belongs_to_the_image_the_classes_the_machine_and_the_runtime(monkeypatch, changed):
    made, told = counted(monkeypatch), {"net": SMALL, "teacher": LARGE, "image": IMAGE, "classes": 10}
    found = latency.beside(**told)
    assert found == latency.Latency(20, 1, 20, 5, 1) and len(made) == 2
    for name in ("machine", "runtime"):
        if name in changed:
            monkeypatch.setattr(cache if name == "machine" else latency, name, lambda: "another")
    latency.beside(**(told | {name: value for name, value in changed.items() if name in told}))
    assert len(made) == 4


def test_times_that_meant_another_thing_are_not_read(monkeypatch):
    made = counted(monkeypatch)
    latency.beside(SMALL, LARGE, IMAGE, 10)
    monkeypatch.setattr(latency, "MEANT", "ticks")
    latency.beside(SMALL, LARGE, IMAGE, 10)
    assert len(made) == 4


def test_a_user_s_network_is_the_same_wherever_its_file_lies_and_whatever_its_weights(monkeypatch):
    made = counted(monkeypatch)
    for place, weights in (("/a/my.py:net", None), ("/b/my.py:net", "w.pt")):
        net = Own(kind="own", factory=place, source="1", weights=weights, weights_hash="2" if weights else "")
        latency.beside(net, LARGE, IMAGE, 10)
    assert len(made) == 2


class Thread:
    """A network whose calls take the seconds that are given, the last of them for ever."""

    def __init__(self, monkeypatch, *calls: float):
        self.now, self.calls, self.number = 0.0, calls, 0
        monkeypatch.setattr(latency.time, "thread_time", lambda: self.now)

    def __call__(self, pixels: np.ndarray) -> None:
        self.now += self.calls[min(self.number, len(self.calls) - 1)]
        self.number += 1


def test_what_disturbs_a_network_only_adds_so_the_shortest_call_is_told(monkeypatch):
    run = Thread(monkeypatch, *[0.02, 0.011, 0.03, 0.01] * 40)
    assert latency.shortest(run, np.zeros(1), latency.MOST) == pytest.approx(0.01)


def test_calls_go_on_until_several_bursts_agree(monkeypatch):
    steady = Thread(monkeypatch, 0.001)
    latency.shortest(steady, np.zeros(1), latency.MOST)
    assert latency.LEAST <= steady.now < latency.LEAST + 0.01
    calls = [0.002 - number * 1e-6 for number in range(500)]  # the machine calms down
    calming = Thread(monkeypatch, *calls, 0.0015)
    assert latency.shortest(calming, np.zeros(1), latency.MOST) == pytest.approx(0.0015, abs=2e-6)
    assert calming.number >= len(calls)


def test_calls_that_never_agree_end_when_enough_time_was_spent(monkeypatch):
    run = Thread(monkeypatch, *(0.05 * 0.9**number for number in range(300)), 0.2)
    latency.shortest(run, np.zeros(1), latency.MOST)
    assert latency.MOST <= run.now < latency.MOST + 1.3


def test_what_the_thread_does_not_do_is_not_its_time(monkeypatch):
    monkeypatch.setattr(latency, "LEAST", 0.02)
    monkeypatch.setattr(latency, "MOST", 0.02)

    def sleeping(pixels: np.ndarray) -> None:
        time.sleep(0.002)

    def working(pixels: np.ndarray) -> None:
        end = time.thread_time() + 0.001
        while time.thread_time() < end:
            pass

    assert latency.timed(sleeping, IMAGE).few < 500
    assert latency.timed(working, IMAGE).few == pytest.approx(1000, rel=0.2)


def test_a_time_is_of_one_image_of_those_that_are_given_together():
    def working(pixels: np.ndarray) -> None:
        end = time.thread_time() + 0.001
        while time.thread_time() < end:
            pass

    found = latency.timed(working, IMAGE)
    assert found.many == pytest.approx(found.few / latency.MANY, rel=0.2)


def test_without_onnxruntime_pytorch_is_measured_and_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert latency.runtime().startswith("torch ") and latency.runtime().endswith(" eager")
    found = latency.beside(ResNet(kind="resnet", widths=(8,), blocks=1), ResNet(kind="resnet", widths=(32,)), IMAGE, 3)
    assert found.ratio > 1
