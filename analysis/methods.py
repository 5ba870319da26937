"""Which way to distil teaches one student the most, each by its published weight?

Left, what each method adds to labels alone: a dot is the difference of both means over seeds, the line through it its
95 % interval; where that reaches zero the method is not told apart from labels. Middle, what an epoch of it takes, in
epochs of labels, as measured in this search; recording a teacher's answers, once, is not part of it. Right, how the
gradient is shared: a term that has none of it does not teach, one that has all of it leaves nothing to the labels, and
a method whose term is at one of these ends says more of its weight than of itself.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd

from kdsearch.results.cells import Cell
from kdsearch.results.facts import Facts
from kdsearch.results.front import by_cell
from kdsearch.results.seeds import difference
from kdsearch.results.tables import FAINT, Tables

from . import captions, frames, intervals

KNOB, BASE = "method", "labels"
ROW = 24
"""Height of a method, in pixels."""


def chart(tables: Tables, facts: Facts) -> Any:
    """Gain over labels, cost of an epoch, shares of the gradient."""
    cells = intervals.found(tables, facts)
    if said := intervals.missing(cells, KNOB):
        return said
    own = {str(cell.knobs[KNOB]): cell for cell in cells if KNOB in cell.knobs}
    base = own.get(BASE)
    if base is None or not base.mean:
        return frames.sentence(f"This chart counts from '{BASE}', which no trial here has learned from to its end.")
    gains = gained(own, base, facts)
    order = list(gains.sort_values("gain", ascending=False)["method"])
    told = shown(tables, own, order)
    panels = [_gains(gains, order), _costs(told, order), _shares(told, order)]
    return captions.under(
        panels, [*captions.here(list(own.values()), facts, "lines: 95\u00a0% intervals"), *_faint(told)]
    )


def gained(own: Mapping[str, Cell], base: Cell, facts: Facts) -> pd.DataFrame:
    """A row a method: `gain` over labels in points, its interval's `low` and `high`, `said`, `trial`."""
    rows = []
    for method, cell in own.items():
        if not cell.mean or cell is base:
            continue
        gap = difference(cell.accuracies, base.accuracies, facts.validation_images)
        half = gap.half or 0.0
        rows.append(
            {
                "method": method, "gain": 100 * gap.value, "low": 100 * (gap.value - half),
                "high": 100 * (gap.value + half), "trial": cell.trial, "accuracy": f"{cell.mean.points} %",
                "said": f"{gap.points} points" + ("" if gap.beyond_noise else ", not told apart"),
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=["method", "gain", "low", "high", "trial", "accuracy", "said"])


def shown(tables: Tables, own: Mapping[str, Cell], order: Sequence[str]) -> pd.DataFrame:
    """A row a method and term: its mean `share` of the gradient over the last stage; the `cost` of an epoch in those of
    labels, the same in all rows of a method."""
    trials = by_cell(tables.trials.values())
    names = {method: {row["trial"] for row in trials[cell.trial]} for method, cell in own.items()}
    last = [row for row in tables.epochs if row["kd_epoch"] is not None]
    seconds = {
        method: statistics.median([row["seconds"] for row in last if row["trial"] in some] or [0.0])
        for method, some in names.items()
    }
    rows = []
    for method in order:
        found: dict[str, list[float]] = {}
        for row in (row for row in last if row["trial"] in names[method]):
            for name, value in row.items():
                if name.startswith("gradient.") and value is not None:
                    found.setdefault(name.removeprefix("gradient."), []).append(value)
        cost = seconds[method] / seconds[BASE] if seconds[BASE] else 0.0
        epochs = sum(row["trial"] in names[method] for row in last)  # a term has no share where it weighs nothing
        means = {term: sum(values) / epochs for term, values in found.items()}
        rows += [{"method": method, "term": term, "share": share, "cost": cost} for term, share in means.items()]
    return pd.DataFrame(rows, columns=["method", "term", "share", "cost"])


def _faint(told: pd.DataFrame) -> list[str]:
    """Which methods teach nothing, or nothing but themselves."""
    names = [f"{row['term']} of {row['method']}" for _, row in told[told["share"] < FAINT].iterrows()]
    return [f"under {100 * FAINT:g} % of the gradient, so that it does nothing: {', '.join(names)}."] if names else []


def _y(order: Sequence[str], labels: bool) -> alt.Y:
    axis = alt.Axis(labelLimit=160) if labels else alt.Axis(labels=False, ticks=False)
    return alt.Y("method:N", title=None, axis=axis).scale(domain=list(order))


def _sized(made: Any, order: Sequence[str], width: int, title: str) -> Any:
    return made.properties(width=width, height=ROW * len(order), title=title)


def _gains(gains: pd.DataFrame, order: Sequence[str]) -> Any:
    base = alt.Chart(gains).encode(_y(order, labels=True))
    across = alt.X("gain:Q", title="points above labels (validation)").axis(format="+.2~f")
    dots = base.mark_circle(color=intervals.BLUE, size=90, opacity=1).encode(
        across, tooltip=["method:N", "accuracy:N", alt.Tooltip("said:N", title="above labels")]
    )
    rules = base.mark_rule(color=intervals.BLUE, strokeWidth=2).encode(alt.X("low:Q"), alt.X2("high:Q"))
    zero = alt.Chart(pd.DataFrame({"gain": [0.0]})).mark_rule(color=intervals.BLACK).encode(across)
    return _sized(
        alt.layer(zero, rules, frames.ring(base.encode(across)), dots.add_params(frames.PICKED)), order, 300, "Gain"
    )


def _costs(told: pd.DataFrame, order: Sequence[str]) -> Any:
    once = told.drop_duplicates("method")
    base = alt.Chart(once).encode(_y(order, labels=False), alt.X("cost:Q", title="epochs of labels").axis(tickCount=4))
    words = base.mark_text(align="left", dx=4, fontSize=11).encode(text=alt.Text("cost:Q", format=".2f"))
    bars = base.mark_bar(color="#9aa5b1").encode(tooltip=["method:N", alt.Tooltip("cost:Q", format=".2f")])
    return _sized(alt.layer(bars, words), order, 150, "An epoch (of the last stage)")


def _shares(told: pd.DataFrame, order: Sequence[str]) -> Any:
    across = (
        alt.X("share:Q", title="mean over epochs").scale(domain=[0, 1]).axis(format="%", values=[0, 0.25, 0.5, 0.75, 1])
    )
    terms = list(dict.fromkeys(["ce", *told["term"]]))  # labels first, in every bar
    ranked = told.assign(place=[terms.index(term) for term in told["term"]])
    bars = alt.Chart(ranked).mark_bar().encode(
        _y(order, labels=False), across, alt.Color("term:N", title="term", sort=terms).scale(scheme="tableau20"),
        alt.Order("place:Q"),
        tooltip=["method:N", "term:N", alt.Tooltip("share:Q", format=".1%")],
    )  # fmt: skip
    return _sized(bars, order, 240, "Shares of the gradient")
