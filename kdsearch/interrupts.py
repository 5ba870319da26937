"""Ctrl-C: remembered, and first heard as a wish where the work can end well by itself; SIGTERM and SIGHUP: the end."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

Result = TypeVar("Result")


def within(seconds: float, work: Callable[[], Result]) -> Result:
    """What `work` returns or raises; TimeoutError after so many seconds, while `work` is left to itself."""
    found: list[Result] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:  # handed to who asked
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if not found:
        raise TimeoutError(f"no answer in {seconds:g} s")
    return found[0]


AGAIN = 1.0
"""Seconds after which time is called over once more."""


class Late(BaseException):
    """Time is over; no Exception, so that the work itself does not catch it."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Ends Python code after so many seconds by raising Late; outside the main thread it may take what it takes."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def over(number: int, frame: Any) -> None:
        raise Late(f"it took over {seconds:g} s")

    handler = signal.signal(signal.SIGALRM, over)
    # Again and again: Python drops what is raised inside a destructor.
    timer = signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, handler)


@contextmanager
def undisturbed() -> Iterator[None]:
    """A good end that one more Ctrl-C would only break."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def never() -> bool:
    """Nobody asks for an end, or sees to a good one."""
    return False


def nothing() -> str:
    """Nothing to say."""
    return ""


@contextmanager
def remembered_ctrl_c(
    pressed: threading.Event, asked: Callable[[], bool] = never, left: Callable[[], str] = nothing
) -> Iterator[None]:
    """Raises KeyboardInterrupt at Ctrl-C, unless `asked` says that it sees to an end.

    The event remembers: Python drops what is raised inside a destructor, and the work would go on. SIGTERM and SIGHUP
    end the process with exit code 130, and say what is `left`: they may have gone to Ray's processes too (a process
    group, a closed terminal), which an orderly end would wait for. What a search knows is on disk at any time.
    """

    def interrupt(*_: object) -> None:
        if not asked():
            pressed.set()
            raise KeyboardInterrupt

    def end(*_: object) -> None:
        show = "\x1b[?25h" if sys.stderr.isatty() else ""  # a live display hides the cursor
        print(f"{show}kdsearch: ended by a signal. {left()}".rstrip(), file=sys.stderr, flush=True)
        os._exit(130)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kinds = {signal.SIGINT: interrupt, signal.SIGTERM: end, signal.SIGHUP: end}
    # Of nohup, for one.
    heard = {kind: handler for kind, handler in kinds.items() if signal.getsignal(kind) is not signal.SIG_IGN}
    before = {kind: signal.signal(kind, handler) for kind, handler in heard.items()}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
