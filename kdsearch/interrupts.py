"""Ctrl-C: remembered, and first heard as a wish where the work can end well by itself; SIGTERM and SIGHUP: the end."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


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
