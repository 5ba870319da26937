"""Stopping rules compared on recorded learning curves."""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from kdsearch.results import searches
from kdsearch.results.curves import Curves, read, write
from kdsearch.results.show import console
from kdsearch.search.progress import Display
from kdsearch.search.replay import Line, Setting, checked, lines, replays
from kdsearch.storage.bucket import usual


@dataclass(frozen=True)
class Comparison:
    """What each rule would have found, and killed, on some curves."""

    curves: Curves
    setting: Setting
    lines: tuple[Line, ...]
    """One a budget and rule."""

    @property
    def frame(self) -> pd.DataFrame:
        """The lines as rows."""
        return pd.DataFrame([asdict(line) for line in self.lines])

    def _repr_html_(self) -> str:
        return self.frame.to_html(index=False, float_format=lambda value: f"{value:.3g}")


def replay(
    table: str | Path,
    *,
    workers: int = 4,
    reduction: float = 3,
    milestones: tuple[int, ...] = (),
    budget: tuple[int, ...] = (18, 55),
    seeds: int = 20,
    save: str | Path | None = None,
    results: str | None = None,
    progress: bool = True,
) -> Comparison:
    """Compare all stopping rules on a search run with rule none, a .parquet file, digits or cifar10.

    `budget`: in epochs of so many full-length trials; `seeds`: orders in which the trials are drawn; `save`: a file for
    the search's curves, as one parquet. Raises Refusal for a table that cannot be replayed.
    """
    curves = read(str(table), searches.reading(results or usual()))
    setting = checked(curves, Setting(workers, reduction, milestones, budget, seeds))
    if save is not None:
        write(Path(save), curves)
    with Display(console(stderr=True, quiet=not progress)) as watch:
        found = replays(curves, setting, partial(watch.wait, "replays"))
    return Comparison(curves, setting, tuple(lines(found)))
