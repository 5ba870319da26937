"""Ctrl-C: remembered, and first heard as a wish where the work can end well by itself."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def never() -> bool:
    """Nobody ends the work well: it is broken off."""
    return False


@contextmanager
def remembered_ctrl_c(pressed: threading.Event, asked: Callable[[], bool] = never) -> Iterator[None]:
    """Raises KeyboardInterrupt at Ctrl-C (or SIGTERM), unless `asked` says that it sees to an end.

    The event remembers: Python drops what is raised inside a destructor, and the work would go on.
    """

    def interrupt(*_: object) -> None:
        if not asked():
            pressed.set()
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {kind: signal.signal(kind, interrupt) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
