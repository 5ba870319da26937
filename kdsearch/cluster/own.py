"""A Ray of this process's own: seen by this machine alone, watched, and gone without a trace at its end."""

import ctypes
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import ray
from ray._private import ray_constants, worker

from kdsearch.errors import Refusal
from kdsearch.interrupts import undisturbed

PROCESSES = ("raylet", "gcs_server")
"""Without one of these, who uses Ray waits for ever."""

EVERY = 1.0
"""Seconds between looks at them."""


USUAL = ray_constants.ENABLE_RAY_CLUSTER
"""As Ray has it on this system."""


def seen_by_others(seen: bool) -> None:
    """Whether a Ray that is started or joined now has an address that other machines reach.

    Ray asks this for Windows and macOS alone, but does it everywhere: without others, all its servers listen on
    loopback, whose address Ray's own option for it (_node_ip_address) would replace.
    """
    ray_constants.ENABLE_RAY_CLUSTER = seen
    worker._worker_logs_enabled = False  # of a process that dies it prints fifty lines; `watched` says it in one
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = str(int(seen))  # of its processes


@contextmanager
def own_ray() -> Iterator[None]:
    """A Ray that is started meanwhile ends, and goes with all that it wrote; one that runs already is left."""
    there = ray.is_initialized()
    try:
        yield
    finally:
        if not there and ray.is_initialized():
            node = worker._global_node
            folder = node.get_session_dir_path() if node and node.is_head() else None
            with undisturbed():
                ray.shutdown()
            seen_by_others(USUAL)  # whoever starts a cluster in this process, or joins one, is not ours
            if folder:  # a megabyte and more of logs
                shutil.rmtree(folder, ignore_errors=True)


def lost(name: str, on: str) -> Refusal:
    """Why the work ends where a process of its Ray did; `on`: what goes on with it."""
    return Refusal(
        f"A search needs all processes of its Ray, but {name} has ended (killed, or out of memory); all that was "
        f"trained is kept. Go on: {on}"
    )


@contextmanager
def watched(died: Callable[[str], None]) -> Iterator[None]:
    """Where a process of this process's own Ray ends meanwhile, `died` hears its name, and the work is interrupted."""
    thread, over = threading.current_thread(), threading.Event()
    own = {name: child for child in psutil.Process().children() if (name := _name(child)) in PROCESSES}

    def look() -> None:
        while not over.wait(EVERY):
            for name, process in own.items():
                if _has_ended(process) and not over.is_set():
                    died(name)
                    _interrupt(thread)
                    return

    threading.Thread(target=look, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


def _has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _interrupt(thread: threading.Thread) -> None:
    """Ctrl-C for one thread."""
    if thread is threading.main_thread():
        os.kill(os.getpid(), signal.SIGINT)
    else:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident or 0), ctypes.py_object(KeyboardInterrupt)
        )
