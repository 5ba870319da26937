"""A search's driver without Ray, which dies when it is told to."""

import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from kdsearch.data.images import silent
from kdsearch.search import driver as search
from kdsearch.search.look import look
from kdsearch.search.plan import Plan, Progress
from kdsearch.search.searcher import Sampler
from kdsearch.search.tune import asked_for, begun

SPACE = """
'''Is anything lost?'''
from kdsearch.config import *

BUDGET = Budget(trials=8, epochs=4, teacher_epochs=1)
TEACHER = REFERENCE = Net(widths=(4, 4, 4), depth=3, hidden=8)
PUBLISHED = ({"width": 2, "hidden": 3},)


def space(trial):
    width, hidden = trial.suggest_int("width", 1, 3), trial.suggest_int("hidden", 1, 12)
    return Pipeline(links=(Link(net=TEACHER), Link(net=Net(widths=(width,) * 3, depth=3, hidden=hidden), kd=KD())))
"""


def planned(space: Path | str, progress: Progress = silent, **options: Any) -> Plan:
    """A search that has looked ahead, as `tune` does it."""
    return look(*begun(asked_for(space, options)), progress)


def sampler_of(driver: search.Driver, startup: int) -> Sampler:
    return Sampler(driver.plan, driver.tables, driver.work, driver.stopping, startup)


class Killed(BaseException):
    """The process ends here: nothing after it is done."""


class Driver:
    """A search's driver without Ray: three trials at a time, each told after a while; what it does is counted."""

    def __init__(self, folder: Path, sampler: str, trials: int, dies_after: int, seeds: int = 1) -> None:
        path = folder / "lost.py"
        path.write_text(SPACE)
        again = (folder / "s" / "search.json").exists()
        told = {"name": "s", "results": str(folder), "sampler": sampler, "rule": "none", "trials": trials}
        self.search = search.Driver(planned(path, **told, seeds=seeds, resume=again))
        self.left = dies_after

    def run(self) -> None:
        self.search.plan.folder.mkdir(exist_ok=True)
        if self.search.plan.place.before:
            self.search.tables.take_over()
        self.search.write_facts()
        self.mortal(self.search.tables, "_note", "write")
        sampler = sampler_of(self.search, startup=3)
        self.mortal(sampler._study, "ask", "tell")
        self.mortal(sampler._study._storage, "set_trial_user_attr", "set_trial_param", "set_trial_state_values")
        work = self.asked(sampler, sampler.to_come)
        running = dict(islice(work, 3))
        while running:
            name = next(iter(running))
            self.end(sampler, name, running.pop(name))
            running.update(islice(work, 1))
        sampler.close()
        self.search.tables.write(at_once=True)

    def asked(self, sampler: Sampler, count: int) -> Iterator[tuple[str, dict]]:
        for number in range(count):
            config = sampler.suggest(f"r{number}")
            if config == Searcher.FINISHED:
                return
            yield f"r{number}", config

    def end(self, sampler: Sampler, ray_name: str, config: dict) -> None:
        """As Ray tells it: the callback, then the sampler."""
        name, tables = config["trial"], self.search.tables
        draw = random.Random(str(config["pipeline"]))
        accuracy, fate = draw.random(), draw.choice(["complete", "stopped", "failed"])
        row = {
            "link": 1,
            "stage": "kd",
            "epoch": 1,
            "kd_epoch": 1,
            "accuracy": accuracy,
            "balanced_accuracy": accuracy,
            "seconds": 1.0,
        }
        tables.extend(name, [row], student=1)
        tables.mark(name, fate, None if fate == "complete" else "because")
        told = {
            "complete": fate == "complete",
            "accuracy": accuracy,
            "balanced_accuracy": accuracy,
            "cause": "because" if fate == "failed" else None,
        }
        sampler.on_trial_complete(ray_name, told)

    def mortal(self, thing: Any, *names: str) -> None:
        """Before each call of these the process may die."""

        def dying(plain: Any) -> Any:
            def call(*told: Any, **more: Any) -> Any:
                self.left -= 1
                if self.left == 0:
                    raise Killed
                return plain(*told, **more)

            return call

        for name in names:
            object.__setattr__(thing, name, dying(getattr(thing, name)))
