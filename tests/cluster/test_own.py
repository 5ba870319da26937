"""A Ray of one's own: watched, unseen by others, and gone without a trace."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from kdsearch.cluster import own
from kdsearch.cluster.own import watched


@pytest.fixture(params=own.PROCESSES)
def child(request, tmp_path, monkeypatch) -> Iterator[subprocess.Popen]:
    """A process of this one that has the name of one of Ray's."""
    monkeypatch.setattr(own, "EVERY", 0.05)
    program = shutil.copy(shutil.which("sleep") or "", tmp_path / request.param)
    with subprocess.Popen([program, "100"]) as process:
        yield process
        process.kill()


def test_who_waits_for_a_ray_that_died_is_interrupted_with_its_name(child):
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt), watched(said.append):
        child.send_signal(signal.SIGKILL)
        time.sleep(20)
    assert said == [os.path.basename(child.args[0])]


def test_work_in_another_thread_is_interrupted_there(child):
    raised: list[bool] = []

    def work() -> None:
        try:
            with watched(lambda name: None):
                child.send_signal(signal.SIGKILL)
                for _ in range(400):
                    time.sleep(0.05)
        except KeyboardInterrupt:
            raised.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    assert raised == [True]


def test_what_ends_after_the_work_interrupts_nobody(child):
    said: list[str] = []
    with watched(said.append):
        time.sleep(0.2)
    child.kill()
    time.sleep(0.3)
    assert said == []


LISTENING = """
import psutil
from kdsearch.cluster.own import own_ray
from kdsearch.cluster.session import start_ray
import ray
with own_ray():
    start_ray()
    session = ray._private.worker._global_node.get_session_dir_path()
    ray.get(ray.remote(lambda: 1).remote())
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    ports = [at.laddr.ip for one in processes for at in one.net_connections("inet") if at.status == "LISTEN"]
    print(sorted({ip.removeprefix("::ffff:") for ip in ports}))
import os
print(os.path.exists(session))
print(ray._private.ray_constants.ENABLE_RAY_CLUSTER, os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"])
"""


@pytest.mark.cluster
def test_its_servers_listen_on_loopback_alone_and_its_files_go(tmp_path):
    done = subprocess.run([sys.executable, "-c", LISTENING], cwd=tmp_path, capture_output=True, text=True)
    # And who starts a cluster in the same process afterwards is seen by its nodes.
    assert done.stdout.splitlines() == ["['127.0.0.1']", "False", "True 1"], done.stderr
