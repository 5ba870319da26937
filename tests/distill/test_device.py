"""How a process computes."""

import subprocess
import sys

import pytest

from kdsearch.distill import device


def test_a_precision_that_is_asked_for_is_taken():
    assert device.precision_of("float32", "cpu") == "float32" and device.precision_of("bfloat16", "cpu") == "bfloat16"


@pytest.mark.parametrize("flags, found", [("fpu avx512f avx512_bf16", "bfloat16"), ("fpu avx512f avx2", "float32")])
def test_auto_is_bfloat16_where_the_processor_multiplies_in_it(monkeypatch, flags, found):
    monkeypatch.setattr(device.Path, "read_text", lambda *_, **__: f"model name : x\nflags : {flags}\n")
    assert device.precision_of("auto", "cpu") == found


def test_auto_is_float32_where_the_system_does_not_tell(monkeypatch):
    def none(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(device.Path, "read_text", none)
    assert device.precision_of("auto", "cpu") == "float32"


def test_a_system_without_glibc_is_left_as_it_is(monkeypatch):
    monkeypatch.setattr(device.ctypes, "CDLL", lambda _: object())
    assert device.keep_freed_memory() is False


@pytest.mark.benchmark
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts Linux's page faults")
def test_freed_memory_is_used_again_instead_of_fresh_pages():
    code = (
        "import resource, torch\nfrom kdsearch.distill import device\n{}\n"
        "def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "def work():\n    for _ in range(20): [torch.ones(20_000_000) for _ in range(2)]\n"
        "work(); before = faults(); work(); print(faults() - before)"
    )

    def pages(line: str) -> int:
        done = subprocess.run([sys.executable, "-c", code.format(line)], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert pages("device.set_up(1)") < pages("") / 10
