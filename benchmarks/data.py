"""What images cost before a network sees them: ready from the cache, an epoch of batches, a set beyond memory.

python benchmarks/data.py FOLDER            a folder of images, such as CIFAR-10's 50,000 training images

Everything is measured in processes of their own, after one that has decoded the images. `ready` is CPU time and memory
from the call of load() on; memory is this process's own (RssAnon and RssShmem), without the pages of files, which all
processes share. An epoch is read from the mapped file and from a copy in memory, in turn; its images/s are those of CPU
time, of a cold one those of the clock. The set beyond memory is the same folder, enlarged to three times an allowance;
it is read cold: the system is asked to drop its pages before. Prints a table, and ends with one JSON line.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

GB = 1e9
EPOCHS = 3
"""Of each kind; the median counts."""


def own_memory() -> float:
    """Bytes of this process that no file stands behind."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024.0 for line in lines if line.startswith(("RssAnon", "RssShmem")))


@contextmanager
def watched() -> Iterator[dict[str, float]]:
    """CPU seconds of what is done meanwhile, and by how many bytes memory rose at most."""
    found, ended = {"peak": 0.0}, threading.Event()
    before = own_memory()

    def watch() -> None:
        while not ended.wait(0.005):
            found["peak"] = max(found["peak"], own_memory() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.process_time()
    yield found
    found["cpu"] = time.process_time() - started
    ended.set()
    watcher.join()
    found["peak"] = max(found["peak"], own_memory() - before)


def opened(told: argparse.Namespace, side: int | None) -> Any:
    from kdsearch.config.pipeline import Data
    from kdsearch.data.images import load

    data = Data(name=str(told.folder), image_size=side, validation=0.1)
    return load(data, Path("nowhere"), memory=int(told.memory * GB))


def rate(images: Any, cold: bool = False) -> float:
    """Images per second of one epoch of batches, changed and normalised, by one thread."""
    import torch

    from kdsearch.config.pipeline import Fit
    from kdsearch.storage import cache

    if cold:
        for path in (cache.folder() / "images").iterdir():
            with open(path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    torch.set_num_threads(1)  # several wait for each other where others are busy, and their waiting is CPU time
    # Of what is in memory the processor's time counts: others may be busy. Of a disk it is what one waits.
    clock = time.perf_counter if cold else time.process_time
    started, count = clock(), 0
    for batch in images.epoch(Fit(batch_size=128), torch.Generator().manual_seed(0), None):
        count += len(batch.samples)
    return count / (clock() - started)


def decode(told: argparse.Namespace, side: int | None) -> dict[str, float]:
    import torch  # noqa: F401  its import is no cost of the images

    with watched() as found:
        images = opened(told, side)
    return found | {"images": len(images.train) + len(images.validation), "channels": images.shape[0]}


def ready(told: argparse.Namespace, side: int | None) -> dict[str, float]:
    opened(told, side)  # everything is imported
    with watched() as found:
        images = opened(told, side)
    return found | {"bytes": images.train.nbytes + images.validation.nbytes}


def epoch(told: argparse.Namespace, side: int | None) -> dict[str, float]:
    import torch

    from kdsearch.data.rows import Rows

    images = opened(told, side)
    held = Rows(images.train[:].permute(0, 2, 3, 1).contiguous(), torch.arange(len(images.train)))
    kinds = {"mapped": images, "held": replace(images, train=held)}
    rates: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(EPOCHS):
        for name, one in kinds.items():
            rates[name].append(rate(one))
    return {name: sorted(found)[EPOCHS // 2] for name, found in rates.items()}


def beyond(told: argparse.Namespace, side: int | None, ahead: bool = True) -> dict[str, float]:
    import torch  # noqa: F401

    with watched() as found:
        images = opened(told, side)
        images = images if ahead else replace(images, train=replace(images.train, fetch=None))
        found["cold"] = rate(images, cold=True)
    found["warm"] = rate(images)
    return found | {"bytes": images.train.nbytes + images.validation.nbytes}


def measured(told: argparse.Namespace, kind: str, side: int | None = None) -> dict[str, float]:
    """One measurement, in a process of its own."""
    call = [sys.executable, __file__, str(told.folder), "--memory", str(told.memory), "--child", kind, str(side or 0)]
    done = subprocess.run(call, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{kind} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--memory", type=float, default=0.5, help="GB; the larger set is three times this")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.child:
        kind, side = told.child
        kinds = {
            "decode": decode,
            "ready": ready,
            "epoch": epoch,
            "beyond": beyond,
            "plain": partial(beyond, ahead=False),
        }
        print(json.dumps(kinds[kind](told, int(side) or None)))
        return
    console = Console()
    with console.status("decoding"):
        there = measured(told, "decode")
    count = int(there["images"])
    side = int((3 * told.memory * GB / (there["channels"] * count)) ** 0.5) + 1
    with console.status("opening"):
        first = measured(told, "ready")
    with console.status("epochs"):
        rates = measured(told, "epoch")
    with console.status(f"decoding at {side}×{side}"):
        large = measured(told, "decode", side)
    with console.status(f"an epoch at {side}×{side}, cold"):
        # Pages that a process has touched stay while it lives.
        cold, plain = measured(told, "beyond", side), measured(told, "plain", side)
    table = Table(title=f"{count:,} images of {told.folder.name}")
    for name in ("what", "CPU s", "own memory, GB", "images/s"):
        table.add_column(name, justify="left" if name == "what" else "right")
    size, bigger = first["bytes"] / GB, cold["bytes"] / GB
    table.add_row(f"ready from the cache ({size:.2f} GB)", f"{first['cpu']:.2f}", f"{first['peak'] / GB:.3f}", "")
    table.add_row("an epoch, mapped", "", "", f"{rates['mapped']:,.0f}")
    table.add_row("an epoch, held in memory", "", "", f"{rates['held']:,.0f}")
    table.add_row(f"decoded at {side}×{side} ({bigger:.2f} GB)", f"{large['cpu']:.1f}", f"{large['peak'] / GB:.3f}", "")
    table.add_row("an epoch of it, cold, read ahead", "", f"{cold['peak'] / GB:.3f}", f"{cold['cold']:,.0f}")
    table.add_row("an epoch of it, cold, plain", "", "", f"{plain['cold']:,.0f}")
    table.add_row("an epoch of it, warm", "", "", f"{cold['warm']:,.0f}")
    console.print(table)
    told_all = {
        "ready_cpu_s": first["cpu"], "ready_memory_of_size": first["peak"] / first["bytes"],
        "mapped_images_s": rates["mapped"], "held_images_s": rates["held"], "large_bytes": cold["bytes"],
        "large_decode_memory_gb": large["peak"] / GB, "large_epoch_memory_gb": cold["peak"] / GB,
        "allowance_gb": told.memory, "cold_images_s": cold["cold"], "cold_plain_images_s": plain["cold"],
    }  # fmt: skip
    print(json.dumps({name: round(value, 4) for name, value in told_all.items()}))


if __name__ == "__main__":
    main()
