"""Calls that may hang end, whatever they do about it."""

import time

import pytest

from kdsearch import interrupts


class Closing:
    """Whatever its destructor raises is dropped by Python."""

    def __del__(self) -> None:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_code_whose_first_alarm_rings_inside_a_destructor_is_ended_by_the_next(monkeypatch):
    monkeypatch.setattr(interrupts, "AGAIN", 0.1)
    begun = time.monotonic()
    with pytest.raises(interrupts.Late, match=r"over 0\.2 s"), interrupts.at_most(0.2):
        Closing()
        while time.monotonic() < begun + 20:
            pass
    assert time.monotonic() < begun + 10
