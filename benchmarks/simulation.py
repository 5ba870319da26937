"""A search's driver without Ray, for scale.py: an event queue tells its parts what Ray would."""

import heapq
import statistics
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from kdsearch.results import curves, tables
from kdsearch.search import driver as search
from kdsearch.search import samplers, spaces
from kdsearch.search.look import look
from kdsearch.search.searcher import Sampler
from kdsearch.search.tune import asked_for, begun
from kdsearch.search.tuner import Stopper, Watcher, restored

DIGITS = Path(__file__).parent / "tables" / "digits.parquet"
LAST = 100
"""Of each step's times, so many are looked at."""
BY_TPE = 40
"""Draws by TPE before each look, where the others are drawn at random."""
FILES = ("trials.parquet", "epochs.parquet", "verdicts.parquet", tables.JOURNAL)


def resident() -> float:
    """This process's memory in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1.024e-3 for line in lines if line.startswith("VmRSS"))


def looked(folder: Path, trials: int, sampler: str, again: bool = False) -> search.Driver:
    """A search on digits that may begin, or go on."""
    told = {"name": folder.name, "results": str(folder.parent), "trials": trials, "sampler": sampler, "resume": again}
    own = search.Driver(look(*begun(asked_for("depth_vs_hint", told))))
    folder.mkdir(parents=True, exist_ok=True)
    own.write_facts()
    return own


def reports(curve: tuple[int, tuple[float, ...], float]) -> Iterator[dict]:
    """What a trial reports, epoch by epoch: (epochs before its last stage, accuracies, seconds of an epoch)."""
    before, accuracies, seconds = curve
    kinds = [f"{gains}.{term}" for gains in ("loss", "gradient") for term in ("ce", "kd")]
    for epoch in range(1, before + len(accuracies) + 1):
        kd_epoch = epoch - before if epoch > before else None
        accuracy = accuracies[epoch - before - 1] if kd_epoch else None
        terms = dict.fromkeys(kinds, 0.3 / epoch) if kd_epoch else {"loss.1→2": 0.3 / epoch, "gradient.1→2": 1.0}
        row = {"link": 1, "stage": "kd" if kd_epoch else "hint", "epoch": epoch, "kd_epoch": kd_epoch}
        row |= {"accuracy": accuracy, "balanced_accuracy": accuracy, "seconds": seconds, **terms}
        ended = {"accuracy": accuracy, "balanced_accuracy": accuracy}
        yield {"rows": [row], **ended, "complete": kd_epoch == len(accuracies)}


class Driver:
    """A search's driver without Ray: an event is a report, told to the parts that Ray would tell."""

    def __init__(self, own: search.Driver, concurrent: int, looks: Sequence[int] = ()) -> None:
        """`looks`: trials after which `look` will be asked; TPE draws before each, whatever draws the others."""
        self.search, self.concurrent, plan = own, concurrent, own.plan
        self.by_tpe = {min(at + concurrent, plan.trials) - place for at in looks for place in range(BY_TPE)}
        rungs = restored(own)
        self.sampler = Sampler(plan, own.tables, own.work, own.stopping, startup=max(10, 3 * concurrent))
        self.usual = self.sampler._study.sampler
        self.stopper, self.watcher = Stopper(own.tables, rungs, "accuracy"), Watcher(own)
        self.curves = sorted(curves.from_parquet(DIGITS).trials, key=lambda curve: curve.parameters)
        self.queue: list[tuple[float, int, SimpleNamespace, Iterator[dict]]] = []
        self.times: dict[str, list[float]] = defaultdict(list)
        self.now, self.asked = 0.0, 0

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.times[step].append(time.perf_counter() - begun)

    def run(self, look: Callable[[int], None]) -> None:
        """To the end; `look` hears of each trial that ended."""
        count, ended = self.sampler.to_come, 0
        while self.queue or self.asked < count:
            while self.asked < count and len(self.queue) < self.concurrent:
                self.begin()
            if self.told(*heapq.heappop(self.queue)):
                ended += 1
                look(ended)

    def begin(self) -> None:
        self.asked += 1
        if self.asked - len(spaces.REFERENCES) in self.by_tpe:
            self.sampler._study.sampler = samplers.make("tpe", 0, startup=10)
        with self.timed("tpe" if self.asked - len(spaces.REFERENCES) in self.by_tpe else "suggest"):
            config = self.sampler.suggest(f"ray{self.asked}")
        self.sampler._study.sampler = self.usual
        trial = SimpleNamespace(config=config, trial_id=f"ray{self.asked}", num_failures=0)
        self.watcher.on_trial_start(0, [], trial)
        size = self.search.tables.trials[config["trial"]]["parameters"]
        place = bisect_left(self.curves, size, key=lambda curve: curve.parameters)
        curve = self.curves[min(place, len(self.curves) - 1)]
        told = reports((curve.before, curve.accuracies, curve.pace))
        heapq.heappush(self.queue, (self.now + curve.pace, self.asked, trial, told))

    def told(self, now: float, number: int, trial: SimpleNamespace, more: Iterator[dict]) -> bool:
        """A trial reports an epoch; does it end?"""
        self.now, result = now, next(more)
        judged = len(self.stopper.rungs.verdicts)
        begun = time.perf_counter()
        stops = self.stopper.on_trial_result(None, trial, result) == Stopper.STOP
        if len(self.stopper.rungs.verdicts) > judged:
            self.times["verdict"].append(time.perf_counter() - begun)
        with self.timed("report"):
            self.watcher.on_trial_result(0, [], trial, result)
        if not (stops or result["complete"]):
            heapq.heappush(self.queue, (now + result["rows"][0]["seconds"], number, trial, more))
            return False
        with self.timed("end"):
            self.sampler.on_trial_complete(trial.trial_id, result)
            self.watcher.on_trial_complete(0, [], trial)
        return True

    def look(self) -> dict[str, float]:
        """What it costs by now, in seconds and bytes."""
        waiting = {tables.PENDING: size(self.search.plan.folder / tables.PENDING)}
        self.search.tables.write(at_once=True)
        found: dict[str, float] = {"mb": resident(), "write": self.search.tables.cost}
        found |= {step: statistics.median(times[-LAST:]) for step, times in self.times.items()}
        found["tpe_p90"] = statistics.quantiles(self.times.get("tpe", [0, 0])[-BY_TPE:], n=10)[-1]
        return found | {name: size(self.search.plan.folder / name) for name in FILES} | waiting


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def reopened(folder: Path, trials: int, sampler: str) -> dict[str, float]:
    """Seconds that the driver's record takes when a search goes on: tables, then rungs and journal."""
    own = looked(folder, trials, sampler, again=True)
    begun = time.perf_counter()
    own.tables.take_over()
    taken = time.perf_counter()
    Driver(own, concurrent=1)
    return {"tables_s": taken - begun, "journal_s": time.perf_counter() - taken}
