"""What a trial costs beside its training: searches whose trials do nothing, beside plain Ray Tune.

python benchmarks/trial_overhead.py

The search is a whole one (Optuna, rungs, tables, references); only the trial's function is replaced by one that reports
a single epoch. Each search has a process of its own. Prints start-up, the slopes of seconds and of the driver's memory
between a short and a long search, and ends with one JSON line.
"""

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

SPACE = '''
"""What does a search cost?"""
from kdsearch.config import KD, Budget, Fit, Link, Net, Pipeline

BUDGET = Budget(trials=10, epochs=2, teacher_epochs=1)
REFERENCE = TEACHER = Net(widths=(2, 2, 2), depth=3, hidden=4)


def space(trial):
    net = Net(depth=trial.suggest_int("depth", 3, 12, step=3), width=trial.suggest_float("width", 0.25, 1.5))
    soft = KD(weight=trial.suggest_float("lambda", 0, 1), temperature=trial.suggest_float("tau", 1, 20, log=True))
    return Pipeline(links=(Link(net=TEACHER, fit=Fit()), Link(net=net, kd=soft, fit=Fit())))
'''


def nothing(config: dict[str, Any]) -> None:
    """A trial that trains nothing: one row, as a real one reports it."""
    from ray import tune

    row = {
        "link": 1,
        "stage": "kd",
        "epoch": 1,
        "kd_epoch": 1,
        "accuracy": 0.5,
        "balanced_accuracy": 0.5,
        "seconds": 0.0,
        "loss.ce": 1.0,
    }
    tune.report({"rows": [row], "accuracy": 0.5, "balanced_accuracy": 0.5, "complete": True})


def plain(config: dict[str, Any]) -> None:
    """What a Ray Tune example does, without its training."""
    import torch  # noqa: F401
    from ray import tune

    tune.report({"accuracy": config["width"]})


def resident() -> float:
    """This process's own memory in kB, without that of files and of Ray's object store."""
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1.024 for line in lines if line.startswith("RssAnon"))


def ours(trials: int, started: float) -> dict[str, float]:
    """A search of kdsearch."""
    from kdsearch.search import run
    from kdsearch.search.driver import Driver
    from kdsearch.search.look import look
    from kdsearch.search.tune import asked_for, begun

    run.trial = nothing
    first: list[float] = []

    def show(own: Driver) -> None:
        if own.tables.trials and not first:
            first.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "nothing.py"
        path.write_text(SPACE)
        options = {"trials": trials, "epochs": 2, "teacher_epochs": 1, "results": folder, "name": "s"}
        own = run.run(look(*begun(asked_for(path, options))), show)
        states, _ = own.tables.tally()
        assert states["complete"] == trials + 3, states
        assert {row["accuracy"] for row in own.tables.trials.values()} == {0.5}
    return {"startup": first[0] - started, "seconds": time.perf_counter() - first[0], "memory": resident()}


def rays(trials: int, started: float) -> dict[str, float]:
    """Plain Ray Tune with its own Optuna search, as its documentation shows it."""
    import logging
    import os

    os.environ |= {"RAY_AIR_NEW_OUTPUT": "0", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"}
    import optuna
    import ray
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    ray.init(include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        tune.Tuner(
            tune.with_resources(plain, {"cpu": 1}),
            param_space={"width": tune.uniform(0.25, 1.5)},
            tune_config=tune.TuneConfig(
                metric="accuracy", mode="max", num_samples=trials, search_alg=OptunaSearch(seed=0)
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        ).fit()
    return {"startup": begun - started, "seconds": time.perf_counter() - begun, "memory": resident()}


def measured(kind: str, trials: int) -> dict[str, float]:
    """One search, in a process of its own."""
    call = [sys.executable, __file__, "--child", kind, str(trials)]
    done = subprocess.run(call, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{kind} with {trials} trials failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", type=int, default=40)
    parser.add_argument("--long", type=int, default=300)
    parser.add_argument("--plain-long", type=int, default=70, help="of plain Ray Tune, which takes seconds a trial")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.child:
        kind, trials = told.child
        print(json.dumps({"ours": ours, "rays": rays}[kind](int(trials), time.perf_counter())))
        return
    console, found = Console(), {}
    table = Table(title="Trials that do nothing")
    for name in ("search", "start-up s", "s a trial", "driver kB a trial"):
        table.add_column(name, justify="left" if name == "search" else "right")
    for name, kind, most in (("kdsearch", "ours", told.long), ("plain Ray Tune", "rays", told.plain_long)):
        with console.status(f"{name}: {told.short} trials, then {most}"):
            short, long = measured(kind, told.short), measured(kind, most)
        slope = {what: (long[what] - short[what]) / (most - told.short) for what in ("seconds", "memory")}
        table.add_row(name, f"{long['startup']:.1f}", f"{slope['seconds']:.3f}", f"{slope['memory']:.0f}")
        prefix = "" if kind == "ours" else "plain_"
        found |= {f"{prefix}startup_s": long["startup"], f"{prefix}s_per_trial": slope["seconds"]}
        found |= {f"{prefix}kb_per_trial": slope["memory"], f"{prefix}long_search_s": long["seconds"]}
    console.print(table)
    print(json.dumps({name: round(value, 4) for name, value in found.items()}))


if __name__ == "__main__":
    main()
