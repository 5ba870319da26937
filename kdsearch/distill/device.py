"""How a process computes: its threads, its memory, the precision of its networks."""

import ctypes
from pathlib import Path

import torch

from kdsearch.config.pipeline import Precision


def set_up(threads: int) -> None:
    """So many threads; and freed memory is kept, since fresh pages from the system cost a third of a training step."""
    torch.set_num_threads(threads)
    keep_freed_memory()


def keep_freed_memory() -> bool:
    """Tell glibc to reuse what was freed instead of returning it to the system; False where there is no glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # malloc.h
    told = ((mmap_threshold, 1 << 30), (trim_threshold, 2**31 - 1), (top_pad, 1 << 26))
    return all([mallopt(option, value) == 1 for option, value in told])


def precision_of(asked: str, device: str) -> Precision:
    """What `auto` means on a device: bfloat16 where its processor multiplies in it, else float32."""
    if asked != "auto":
        return "bfloat16" if asked == "bfloat16" else "float32"
    there = torch.cuda.is_bf16_supported(False) if device == "cuda" else _processor_has_bfloat16()
    return "bfloat16" if there else "float32"


def _processor_has_bfloat16() -> bool:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    flags = next((line.split() for line in text.splitlines() if line.startswith("flags")), [])
    return "avx512_bf16" in flags or "amx_bf16" in flags
