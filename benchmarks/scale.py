"""How far does a search scale? A driver without Ray to 5,000 trials, 200 side by side; Ray with 500, 16 side by side.

python benchmarks/scale.py

First without Ray: an event queue tells the driver's own parts (sampler, rungs, tables, journal) of trials that replay a
recorded search, each the curve of the nearest size, stopped as the rule says. Then the same trials in Ray Tune, on
processors that it only believes in. Prints what each step costs as the search grows, and ends with one JSON line.
"""

import argparse
import json
import logging
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from simulation import DIGITS, FILES, Driver, looked, reopened, reports, resident

from kdsearch.results import curves
from kdsearch.results import tables as results_tables
from kdsearch.search import driver as search_driver
from kdsearch.search import spaces
from kdsearch.search.tuner import tune_trials

LOOKS = (500, 1000, 2000, 5000, 10000)
"""Trials after which the costs are looked at."""
GOAL_GB, GOAL_TRIALS = 1.5, 5000
"""What the driver may hold, and when."""
PARTS = ("simulated", "ray")
EVERY = 20
"""Reports between two looks at a driver with Ray."""


def simulated(told: argparse.Namespace) -> dict[str, Any]:
    """A search without Ray: what it costs after so many trials, in all, and to go on with."""
    with tempfile.TemporaryDirectory() as name:
        folder, looks = Path(name) / "results" / "s", {}
        due = sorted({*(at for at in LOOKS if at < told.trials), told.trials})
        driver = Driver(looked(folder, told.trials, told.sampler), told.concurrent, due)
        begun = time.perf_counter()

        def look(ended: int) -> None:
            if ended - len(spaces.REFERENCES) in due:
                looks[ended - len(spaces.REFERENCES)] = driver.look()

        driver.run(look)
        found = {"seconds": time.perf_counter() - begun, "epochs": len(driver.search.tables.epochs)}
        found["complete"] = driver.search.tables.tally()[0]["complete"]
        return {"looks": looks, **found, **reopened(folder, told.trials, told.sampler)}


def kept_reports(folder: Path) -> int:
    """The reports of each recorded trial as a file; how many there are. Ray unpickles a function for every trial."""
    (folder / "begun").mkdir()
    recorded = curves.from_parquet(DIGITS).trials
    for number, one in enumerate(recorded):
        (folder / str(number)).write_text(json.dumps(list(reports((one.before, one.accuracies, one.pace)))))
    return len(recorded)


def in_ray(told: argparse.Namespace) -> dict[str, Any]:
    """The same search in Ray Tune, every epoch a report: what its driver holds and does."""
    import ray
    from ray import tune

    from kdsearch.cluster.session import start_ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        "local",
        num_cpus=told.ray_concurrent,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.CRITICAL,
    )
    start_ray()
    pause, together = told.pause, told.ray_concurrent

    def trial(config: dict[str, Any]) -> None:
        # Nobody begins before all are there: Ray gives a waiting trial the next free process and ends its own new one.
        Path(there, "begun", str(os.getpid())).touch()
        until = time.monotonic() + 100
        while len(os.listdir(Path(there, "begun"))) < together and time.monotonic() < until:
            time.sleep(0.1)
        for report in json.loads(Path(there, str(random.Random(config["trial"]).randrange(kept))).read_text()):
            time.sleep(pause)
            tune.report(report)

    looks: list[tuple[int, float, int, float, float]] = []

    def show(search: search_driver.Driver) -> None:
        begun, rows = len(search.tables.trials), len(search.tables.epochs)
        if rows // EVERY > len(looks):
            looks.append((begun, resident(), rows, time.perf_counter(), time.process_time()))

    with tempfile.TemporaryDirectory() as there:
        kept = kept_reports(Path(there))
        own = looked(Path(there) / "results" / "s", told.ray_trials, "tpe")
        own.show = show
        tune_trials(own, trial)
        assert own.tables.tally()[1] == told.ray_trials + len(spaces.REFERENCES)
    return summed(looks, told.ray_trials)


def summed(looks: list[tuple[int, float, int, float, float]], trials: int) -> dict[str, Any]:
    """Slopes between looks (trials begun, MB, reports, time, processor time), without the first tenth."""
    late = [look for look in looks if look[0] > trials / 10]
    begun, held, rows, times, busy = zip(*late, strict=True)
    slope = statistics.linear_regression(begun, held).slope
    whole = held[-1] + slope * (GOAL_TRIALS - begun[-1])
    reports, seconds = rows[-1] - rows[0], times[-1] - times[0]
    return {
        "trials": trials, "start_mb": looks[0][1], "end_mb": held[-1], "mb_per_trial": slope,
        "mb_at_5000": whole, "fits": whole < 1000 * GOAL_GB, "trials_per_s": (begun[-1] - begun[0]) / seconds,
        "reports_per_s": reports / seconds, "busy_ms_per_report": 1000 * (busy[-1] - busy[0]) / reports,
    }  # fmt: skip


def show_looks(found: dict[str, Any], told: argparse.Namespace, console: Console) -> None:
    """The simulation's table."""
    table = Table(title=f"Without Ray: {told.concurrent} side by side, drawn by {told.sampler}")
    for name in (
        "trials",
        "MB",
        "suggestion ms",
        "p90",
        "verdict ms",
        "report ms",
        "write s",
        "tables MB",
        "journal MB",
    ):
        table.add_column(name, justify="right")
    for trials, look in found["looks"].items():
        times = [1000 * look[step] for step in ("suggest", "tpe", "tpe_p90", "verdict", "report")]
        tables = sum(look[name] for name in FILES[:3])
        shown = [f"{look['mb']:.0f}", *(f"{time:.2f}" for time in times), f"{look['write']:.2f}"]
        table.add_row(f"{int(trials):,}", *shown, f"{tables / 1e6:.2f}", f"{look[results_tables.JOURNAL] / 1e6:.2f}")
    console.print(table)
    went = found["tables_s"] + found["journal_s"]
    console.print(f"{found['seconds']:.0f} s for {found['epochs']:,} epochs; to go on with it: {went:.1f} s")


def child(words: list[str]) -> dict[str, Any]:
    """A part in a process of its own, so that it is told its own memory; its last line."""
    done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=GOAL_TRIALS, help="without Ray")
    parser.add_argument("--concurrent", type=int, default=200, help="without Ray")
    parser.add_argument("--sampler", default="random", help="random: and TPE just before each look")
    parser.add_argument("--ray-trials", type=int, default=500)
    parser.add_argument("--ray-concurrent", type=int, default=16)
    parser.add_argument("--pause", type=float, default=0.1, help="seconds of an epoch in Ray")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.part:
        print(json.dumps({"simulated": simulated, "ray": in_ray}[told.part](told)))
        return
    console, found = Console(), {}
    for part in PARTS:
        with console.status(f"{part}: a search of {told.trials if part == 'simulated' else told.ray_trials} trials"):
            found[part] = child([*sys.argv[1:], "--part", part])
    show_looks(found["simulated"], told, console)
    own = found["ray"]
    console.print(
        f"Ray, {own['trials']} trials, {told.ray_concurrent} side by side: {own['trials_per_s']:.1f} trials and "
        f"{own['reports_per_s']:.0f} reports a second, {own['busy_ms_per_report']:.1f} ms of the driver a report; its "
        f"memory {own['start_mb']:.0f} MB at first, {own['end_mb']:.0f} at last, {1000 * own['mb_per_trial']:.0f} kB a "
        f"trial, so {own['mb_at_5000'] / 1000:.2f} GB at {GOAL_TRIALS:,}: "
        f"{'within' if own['fits'] else 'beyond'} {GOAL_GB} GB"
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
