"""Which stopping rule finds the front soonest? Every rule on recorded searches, and on large nets that learn slowly.

python benchmarks/early_stopping.py

Replays each table of benchmarks/tables/ and a synthetic one with 4 workers, reduction 3, milestones 1, 3 and 9, to
budgets of 18 and 55 full-length trials; then measures what a verdict and a suggestion cost the driver. Ends with
one JSON line.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from kdsearch.cli import replay
from kdsearch.results import curves
from kdsearch.search import replay as search_replay
from kdsearch.search.replay import Setting, checked, replays
from kdsearch.search.rungs import Rungs

TABLES = Path(__file__).parent / "tables"


def slow_starters(trials: int = 800, epochs: int = 27, seed: int = 0) -> curves.Curves:
    """A search in which large nets end higher and converge later: the time constant grows with the log size, from 0.7
    to 8 epochs over 2.8 decades, so that after one epoch the small ones lead."""
    chance, rows = random.Random(seed), []
    for number in range(trials):
        place = chance.random()
        end = 0.45 + 0.35 * place**0.7 + chance.gauss(0, 0.04)
        constant = 0.7 * (8 / 0.7) ** place * 2.718 ** chance.gauss(0, 0.15)
        for epoch in range(1, epochs + 1):
            accuracy = 0.1 + (end - 0.1) * (1 - 2.718 ** (-epoch / constant)) + chance.gauss(0, 0.005)
            rows.append({
                "trial": str(number), "parameters": round(10 ** (2.4 + 2.8 * place)), "kd_epoch": epoch,
                "accuracy": min(max(accuracy, 0.0), 1.0), "epochs_before": 0, "seconds": 1.0,
            })  # fmt: skip
    return curves.curves_of("slow starters (synthetic)", rows, {"teacher_parameters": 10**5.5, "classes": 10})


def verdict(recorded: int) -> float:
    """Milliseconds of a verdict by the default rule when so many trials are recorded, median of 200; accuracy rises
    with size, so that fronts are long."""
    rungs, chance, times = Rungs((1,), 3, sizes=(1_000, 1_000_000)), random.Random(0), []
    for number in range(recorded + 200):
        place = chance.random()
        accuracy, size = place + 0.1 * chance.random(), round(1_000 ** (1 + place))
        begun = time.perf_counter()
        rungs.judge(str(number), 1, accuracy, size)
        times.append(time.perf_counter() - begun)
    return 1000 * statistics.median(times[recorded:])


def suggestion(trials: int, told: int) -> float:
    """Milliseconds of a suggestion (TPE, journal, tables) when so many trials have ended, median of `told`."""
    from kdsearch.search.driver import Driver
    from kdsearch.search.look import look
    from kdsearch.search.searcher import Sampler
    from kdsearch.search.tune import asked_for, begun

    with tempfile.TemporaryDirectory() as folder:
        options = {"trials": trials + told, "results": folder, "name": "s"}
        own = Driver(replace(look(*begun(asked_for("depth_vs_hint", options))), references={}))
        own.plan.folder.mkdir(parents=True)
        sampler = Sampler(own.plan, own.tables, own.work, own.stopping, startup=10)
        chance, times = random.Random(0), []
        for number in range(trials + told):
            begun = time.perf_counter()
            sampler.suggest(str(number))
            times.append(time.perf_counter() - begun)
            # As the default rule leaves them: a fifth ends, most are stopped.
            reached = chance.random()
            outcome = {"complete": chance.random() < 0.2, "accuracy": reached, "balanced_accuracy": reached}
            sampler.on_trial_complete(str(number), outcome)
        return 1000 * statistics.median(times[trials:])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--trials", type=int, default=1000, help="that have ended when a suggestion is measured")
    told = parser.parse_args()
    console, found = Console(), {}
    for table in [*(curves.from_parquet(path) for path in sorted(TABLES.glob("*.parquet"))), slow_starters()]:
        setting = checked(table, Setting(milestones=(1, 3, 9), seeds=told.seeds))
        with console.status(f"replaying {table.name}"):
            lines = list(search_replay.lines(replays(table, setting, lambda *_: None)))
        replay.show(table, setting, lines, console)
        for line in lines:
            if line.rule == "union":
                ratios = (line.against_none, line.against_asha, line.killed)
                found[f"{table.name.split()[0]}_{line.budget}"] = [round(value, 3) for value in ratios]
    with console.status(f"suggesting {told.trials} trials"):
        costs = {"judge_ms": verdict(2_000), "suggest_ms": suggestion(told.trials, told=20)}
    console.print(f"A verdict at 2,000 recorded trials: {costs['judge_ms']:.2f} ms")
    console.print(f"A suggestion at {told.trials:,} ended trials: {costs['suggest_ms']:.0f} ms")
    print(json.dumps({"against_none_asha_killed": found, **{n: round(value, 3) for n, value in costs.items()}}))


if __name__ == "__main__":
    main()
