"""How fast a deployed student answers: PyTorch, onnxruntime, int8; how steady a ratio is; what measuring costs.

python benchmarks/latency.py

On one thread, the shortest thread time of many calls. The ratio is measured
`--repeat` times beside `--busy` processes that do nothing but compute. A cost is the CPU time of one architecture that
nobody has measured: its making, its export, its calls; the first one, which imports what exports, is told alone.
"""

import argparse
import json
import multiprocessing
import os
import tempfile
import time

import torch
from rich.console import Console
from rich.table import Table

from kdsearch.config.net import AnyNet, Net, ResNet
from kdsearch.nets import latency, onnx
from kdsearch.nets.whole import untaught
from kdsearch.storage import cache

NETS: dict[str, tuple[AnyNet, tuple[int, int, int]]] = {
    "plain, 58,970 parameters, 8×8": (Net(depth=6, batch_norm=True), (1, 8, 8)),
    "ResNet 16–128, 32×32": (ResNet(kind="resnet", widths=(16, 32, 64, 128), blocks=1), (3, 32, 32)),
    "ResNet 32–256, 32×32": (ResNet(kind="resnet", widths=(32, 64, 128, 256), blocks=1), (3, 32, 32)),
}
"""The last is the teacher of the ratio, the one before it the student."""


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeat", type=int, default=5, help="how often the ratio is measured beside other work")
    parser.add_argument("--busy", type=int, default=2 * (os.cpu_count() or 1), help="processes that compute meanwhile")
    parser.add_argument("--architectures", type=int, default=20, help="whose measuring is timed")
    return parser.parse_args()


def table() -> dict[str, dict[str, dict[str, float]]]:
    """Microseconds of an image by network, format and count."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, (net, image) in NETS.items():
        whole, _ = untaught(net, image, 10)
        model = onnx.exported(whole, image)
        small = onnx.quantised(model, torch.from_numpy(latency.pixels(image, 32)))
        runs = {"torch": latency.eager(whole), "onnx": onnx.Session(model), "int8": onnx.Session(small)}
        times = {kind: latency.timed(run, image) for kind, run in runs.items()}
        found[name] = {kind: {"1": own.few, "32": own.many} for kind, own in times.items()}
    return found


def compute() -> None:
    """Work without end."""
    while True:
        sum(number * number for number in range(10_000))


def steady(repeat: int, busy: int) -> list[float]:
    """The ratio of two networks, measured again and again while other processes compute."""
    (student, image), (teacher, _) = list(NETS.values())[1:]
    runs = [onnx.Session(onnx.exported(untaught(net, image, 10)[0], image)) for net in (student, teacher)]
    others = [multiprocessing.get_context("spawn").Process(target=compute, daemon=True) for _ in range(busy)]
    for one in others:
        one.start()
    try:
        times = [[latency.timed(run, image).few for run in runs] for _ in range(repeat)]
    finally:
        for one in others:
            one.kill()
            one.join()
    return [its / own for own, its in times]


def costs(count: int) -> tuple[list[float], list[float]]:
    """CPU seconds of each architecture beside the teacher: the first time, and the second."""
    teacher, image = NETS["ResNet 32–256, 32×32"]
    nets = [ResNet(kind="resnet", widths=(8, 16, 32, 64), blocks=1, width=1 + place / 10) for place in range(count)]
    rounds = []
    for _ in range(2):
        spent = []
        for net in nets:
            begun = time.process_time()
            latency.beside(net, teacher, image, 10)
            spent.append(time.process_time() - begun)
        rounds.append(spent)
    return rounds[0], rounds[1]


def main() -> None:
    told, console = asked(), Console()
    times = table()
    shown = Table(
        "network", "format", "alone", "among 32", "torch / it", "among 32", title="µs of an image, one thread"
    )
    for name, kinds in times.items():
        for kind, own in kinds.items():
            ratios = [f"{kinds['torch'][count] / own[count]:.2f}×" for count in ("1", "32")]
            shown.add_row(name, kind, f"{own['1']:,.1f}", f"{own['32']:,.1f}", *ratios)
    console.print(shown)
    ratios = steady(told.repeat, told.busy)
    spread = max(ratios) / min(ratios) - 1
    console.print(f"Teacher / student beside {told.busy} busy processes: {ratios}, {100 * spread:.1f} % apart")
    with tempfile.TemporaryDirectory() as there:
        os.environ["KDSEARCH_CACHE"] = there
        first, second = costs(told.architectures)
    console.print(f"CPU seconds an architecture: {first[0]:.1f} the first, then {max(first[1:] or [0]):.1f} at most")
    found = {
        "machine": cache.machine(), "runtime": latency.runtime(), "torch": torch.__version__, "microseconds": times,
        "ratios": ratios, "spread": spread, "busy": told.busy, "first_cpu_s": first[0], "cpu_s": first[1:],
        "again_cpu_s": second,
    }  # fmt: skip
    print(json.dumps(found))


if __name__ == "__main__":
    main()
