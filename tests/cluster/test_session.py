"""Where Ray is, and that it answers."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from bucket import free_port

from kdsearch.cluster import session
from kdsearch.cluster.session import probe, resolve, unreached
from kdsearch.errors import Refusal


@contextmanager
def listening(answer: Callable[[socket.socket], object]) -> Iterator[str]:
    """A server that treats one caller so."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def serve() -> None:
            caller, _ = server.accept()
            with caller:
                answer(caller)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join(20)


def test_the_option_comes_before_the_environment_and_without_both_it_is_this_machine(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert resolve(None) is None and resolve("auto") == "auto"
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert resolve(None) == "head:6379" and resolve("10.0.0.1:6380") == "10.0.0.1:6380"
    assert resolve("local") is None
    assert resolve("[::1]:6379") == "[::1]:6379"


@pytest.mark.parametrize(
    "word", ["head", "head:", ":6379", "head:0", "head:65536", "head:ray", "head:6379/x", "http://head:6379", "a b:1"]
)
def test_a_malformed_address_is_refused_with_the_rule(word):
    with pytest.raises(Refusal, match=f"HOST:PORT with a port from 1 to 65535.*but got '{word}'"):
        resolve(word)


def test_a_client_s_address_is_refused_with_what_to_do_instead():
    with pytest.raises(Refusal, match=r"'ray://head:10001'; run kdsearch on the head.*--cluster"):
        resolve("ray://head:10001")


def test_a_malformed_environment_is_refused_too(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "head")
    with pytest.raises(Refusal, match="RAY_ADDRESS"):
        resolve(None)


def test_a_port_where_nobody_listens_is_refused():
    with pytest.raises(Refusal, match=r"127.0.0.1:\d+ cannot be reached \(Connection refused\); start Ray there"):
        probe(f"127.0.0.1:{free_port()}")


def test_a_name_that_nobody_knows_is_refused():
    with pytest.raises(Refusal, match=r"nowhere.invalid:6379 cannot be reached"):
        probe("nowhere.invalid:6379")
    with pytest.raises(Refusal, match="cannot be reached"):
        probe(f"{'a' * 70}.invalid:6379")


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH\r\n", b""])
def test_a_server_that_is_not_ray_is_refused(answer):
    with listening(lambda caller: caller.sendall(answer)) as word, pytest.raises(Refusal, match="not as Ray does"):
        probe(word)


def test_a_server_that_speaks_as_ray_does_is_taken():
    with listening(lambda caller: (caller.recv(99), caller.sendall(b"\x00\x00\x06\x04\x00\x00\x00\x00\x00"))) as word:
        probe(word)


def test_a_silent_server_is_refused_in_15_seconds():
    done, began = threading.Event(), time.monotonic()
    with listening(lambda caller: done.wait(20)) as word:
        with pytest.raises(Refusal, match="cannot be reached"):
            probe(word)
        assert time.monotonic() - began < 15
        done.set()


def test_a_name_server_that_hangs_is_waited_for_no_longer_than_the_patience(monkeypatch):
    done = threading.Event()
    monkeypatch.setattr(session, "PATIENCE", 0.2)
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: done.wait(20))
    with pytest.raises(Refusal, match=r"no answer in 0.2 s"):
        probe("head:6379")
    done.set()


def test_this_machine_and_auto_need_no_probe():
    probe(None)
    probe("auto")


def test_auto_without_a_ray_says_how_to_start_one():
    said = str(unreached("auto", ConnectionError("Could not find any running Ray instance.\nMore.")))
    assert "there is none (Could not find any running Ray instance.); start one with `ray start --head`" in said


@pytest.mark.parametrize("option", ["", "  "])
def test_an_empty_address_is_refused(option):
    with pytest.raises(Refusal, match="got nothing"):
        resolve(option)


LOST = """
import os
from kdsearch.cluster.session import start_ray
start_ray("local")
import ray, time

@ray.remote(max_retries=0)
def lost(): os.kill(os.getpid(), 9)

for _ in range(2):
    try: ray.get(lost.remote())
    except ray.exceptions.WorkerCrashedError: pass
time.sleep(2)
"""


@pytest.mark.kill
def test_ray_says_nothing_of_a_lost_worker(tmp_path):
    done = subprocess.run([sys.executable, "-c", LOST], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_path_too_long_for_ray_s_sockets_is_refused_with_the_variable_to_change(monkeypatch):
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", "/tmp/" + "x" * 60)
    with pytest.raises(Refusal, match=r"at most 107 bytes, but Ray's would have 1\d\d, since TMPDIR .* let RAY_TMPDIR"):
        session._check_sockets(None)
    session._check_sockets("auto")  # who joins a Ray makes no sockets
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    session._check_sockets(None)


def test_a_user_s_folder_is_not_where_ray_is_started(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyError), session._elsewhere():
        assert os.getcwd() == os.sep
        raise KeyError
    assert os.getcwd() == str(tmp_path)


def test_a_script_s_folder_is_not_on_the_path_of_workers(monkeypatch):
    monkeypatch.setattr(session.sys, "argv", ["/home/me/search.py", "x"])
    with session._elsewhere():
        assert os.path.dirname(os.path.realpath(session.sys.argv[0])) == os.sep == os.getcwd()
    assert session.sys.argv == ["/home/me/search.py", "x"]
