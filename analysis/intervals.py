"""The cells of a grid as the charts read them, and the chart that most answers are: mean and interval by arm."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import altair as alt
import pandas as pd

from kdsearch.results import cells as results_cells
from kdsearch.results.cells import Cell
from kdsearch.results.facts import Facts
from kdsearch.results.front import by_cell
from kdsearch.results.metric import score
from kdsearch.results.tables import Tables

from . import captions, frames

BLUE, BLACK, RED = "#2563a8", "#20262d", "#b03030"
HEIGHT = 300
PLACES = ["seed", "mean", "printed"]
"""From the left to the right, within an arm."""
HERE, PRINTED, BOTH = "accuracy (validation)", "accuracy (test, printed)", "accuracy (here validation, printed test)"
BASES = ("KD", "labels")
"""Whose accuracy is the zero of two panels that share an axis; else the first arm that both have."""
APART = 3.0
"""Printed numbers get an axis of their own where a shared one would be so many times longer than each alone."""


def found(tables: Tables, facts: Facts) -> list[Cell]:
    """The cells of a search."""
    return results_cells.cells(tables, facts.validation_images)


def missing(found: Sequence[Cell], *knobs: str) -> alt.Chart | None:
    """A sentence where the cells lack one of the knobs that a chart is about, or none is fully trained."""
    for knob in knobs:
        if not any(knob in cell.knobs for cell in found):
            return frames.sentence(f"This chart needs the knob '{knob}', which no trial here has.")
    return None if any(cell.mean for cell in found) else frames.sentence("No cell is fully trained yet.")


def arm(cell: Cell, knob: str) -> str:
    """A knob's value as an axis names it."""
    value = cell.knobs.get(knob)
    return f"{value:g}" if isinstance(value, float) else str(value)


def frame(found: Sequence[Cell], tables: Tables) -> pd.DataFrame:
    """A row a cell that has a mean, with its interval (low, high), and a row a seed of those that have several.

    Columns: cell (its name), place, trial, accuracy, low, high, said (accuracy as text), of; and the cell's knobs.
    """
    trials = by_cell(tables.trials.values())
    rows = [row for cell in found if cell.mean for row in _rows(cell, trials[cell.trial])]
    names = ["cell", "place", "trial", "accuracy", "low", "high", "said", "of"]
    return pd.DataFrame(rows, columns=list(dict.fromkeys([*names, *(name for row in rows for name in row)])))


def _rows(cell: Cell, trials: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    own = {"cell": cell.name, **cell.knobs}
    trained = [row for row in trials if row["state"] == "complete"]
    seeds = [
        own | {
            "place": "seed", "trial": row["trial"], "accuracy": score(row), "low": None, "high": None,
            "said": f"{100 * (score(row) or 0.0):.2f} %", "of": f"seed {row['seed']}, trial {row['trial']}",
        }
        for row in trained
    ]  # fmt: skip
    mean, half = (cell.mean.value, cell.mean.half or 0.0) if cell.mean else (0.0, 0.0)
    said = f"{cell.mean.points if cell.mean else '–'} %"
    whole = {"place": "mean", "accuracy": mean, "low": max(mean - half, 0), "high": min(mean + half, 1), "said": said}
    if len(seeds) == 1:
        return [seeds[0] | whole]
    # A click on a mean of several seeds is no trial's.
    return [own | whole | {"trial": f"mean of {cell.name}", "of": f"{len(seeds)} seeds"}, *seeds]


def apart(shown: pd.DataFrame, published: pd.DataFrame, facts: Facts) -> bool:
    """Printed numbers are of other data, or so far away that a shared axis would flatten both."""
    tables = set(published["table"])
    if any(captions.dataset(name) != facts.data for name in tables):
        return True
    ours = pd.concat([shown["accuracy"], shown["low"], shown["high"]]).astype(float)
    both = pd.concat([ours, published["accuracy"]])
    longest = max(ours.max() - ours.min(), published["accuracy"].max() - published["accuracy"].min(), 0.02)
    return both.max() - both.min() > APART * longest


class Axis(NamedTuple):
    """An axis of points above an arm's accuracy, from and to where."""

    title: str
    domain: tuple[float, float]


def y(title: str | Axis, field: str = "accuracy:Q") -> alt.Y:
    """An axis of accuracies that need not begin at 0, or of points."""
    if isinstance(title, Axis):
        scale = alt.Y(field, title=title.title).scale(domain=title.domain, nice=False)
        return scale.axis(format="+.2~f", minExtent=46)
    return alt.Y(field, title=title).scale(zero=False, nice=False, padding=14).axis(format=".2~%", minExtent=46)


def by_arm(
    tables: Tables, facts: Facts, knob: str, arms: Sequence[str], prints: Mapping[str, Mapping[str, str]]
) -> Any:
    """Mean and interval of each of a knob's values, in the order of `arms`; `prints`: arms of rows, by table."""
    cells = found(tables, facts)
    if said := missing(cells, knob):
        return said
    own = [cell for cell in cells if knob in cell.knobs]
    shown = frame(own, tables)
    published = pd.concat([captions.frame(name, rows) for name, rows in prints.items()])
    shown = shown.assign(arm=[arm(next(one for one in own if one.name == name), knob) for name in shown["cell"]])
    texts = {row["arm"]: f"{100 * row['accuracy']:.2f} %" for _, row in published.iterrows()}
    shown = shown.assign(printed=[texts.get(name, "–") for name in shown["arm"]])
    order = list(dict.fromkeys([*arms, *(arm(cell, knob) for cell in own)]))
    lost = [arm(cell, knob) for cell in own if cell.failed and not cell.accuracies]
    caption = [*captions.here(own, facts), *(captions.told(name) for name in prints)]
    return captions.under(_panels(shown, published, facts, (knob, order, lost)), caption)


def _panels(
    shown: pd.DataFrame, published: pd.DataFrame, facts: Facts, axis: tuple[str, list[str], list[str]]
) -> list[Any]:
    """One panel, or two where the printed numbers need an axis of their own."""
    knob, order, lost = axis
    if not apart(shown, published, facts):
        layers = [*ours(shown, lost, x(order, knob), BOTH), hollow(published, order, knob, BOTH)]
        return [alt.layer(*layers).properties(width=_width(order), height=HEIGHT, title="Here and printed")]
    printed = [name for name in order if name in set(published["arm"])]
    shown, published, here, there = aligned(shown, published, printed)
    return [
        alt.layer(*ours(shown, lost, x(order, knob), here)).properties(
            width=_width(order), height=HEIGHT, title="Here"
        ),
        hollow(published, printed, knob, there).properties(width=_width(printed, 64), height=HEIGHT, title="Printed"),
    ]


def aligned(
    shown: pd.DataFrame, published: pd.DataFrame, arms: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame, Any, Any]:
    """Both frames as points from an arm that both have (BASES, or the first of `arms`), and their axes, equally long: a
    point is as high in one panel as in the other. Where they share no arm: as they are, each with its own axis."""
    base = next(
        (name for name in (*BASES, *arms) if all(name in set(frame["arm"]) for frame in (shown, published))), None
    )
    if base is None:
        return shown, published, HERE, PRINTED
    shown, published = (_points(frame, base) for frame in (shown, published))
    values = pd.concat([shown["accuracy"], shown["low"], shown["high"], published["accuracy"]])
    room = 0.06 * max(values.max() - values.min(), 1.0)
    reach = (values.min() - room, values.max() + room)
    here, there = (Axis(f"points from {base} ({of})", reach) for of in ("validation", "test, printed"))
    return shown, published, here, there


def _points(frame: pd.DataFrame, base: str) -> pd.DataFrame:
    """Accuracies as points above that arm's; what hovering says of them stays."""
    own = frame.query("arm == @base" + (" and place == 'mean'" if "place" in frame else ""))
    zero = float(own["accuracy"].to_numpy()[0])
    names = [name for name in ("accuracy", "low", "high") if name in frame]
    return frame.assign(**{name: 100 * (frame[name].astype(float) - zero) for name in names})


def _width(order: Sequence[str], each: int = 76) -> int:
    return max(each * len(order), 180)


def x(order: Sequence[str], knob: str) -> alt.X:
    """Arms in their order, none left out."""
    return alt.X("arm:N", title=knob).scale(domain=list(order)).axis(labelAngle=0, labelOverlap=False)


def ours(shown: pd.DataFrame, lost: Sequence[str], across: alt.X, title: str | Axis) -> list[Any]:
    """Layers: intervals as rules, means as filled dots, seeds as small faint ones, and where a cell failed."""
    offset = alt.XOffset("place:N").scale(domain=PLACES)
    base = alt.Chart(shown).encode(across, y(title), offset)
    rules = alt.Chart(shown[shown["place"] == "mean"]).mark_rule(color=BLUE, strokeWidth=2)
    mean = alt.datum.place == "mean"
    dots = base.mark_circle(color=BLUE).encode(
        size=alt.when(mean).then(alt.value(110)).otherwise(alt.value(28)),
        opacity=alt.when(mean).then(alt.value(1)).otherwise(alt.value(0.45)),
        tooltip=["cell:N", alt.Tooltip("said:N", title="accuracy"), "of:N", "printed:N"],
    )
    gone = alt.Chart(pd.DataFrame({"arm": list(lost), "place": "mean"}, columns=["arm", "place"]))
    # Upright, so that it leaves room for the printed number beside it.
    words = gone.mark_text(text="failed", color=RED, angle=270, align="left").encode(across, y=alt.value(HEIGHT - 8))
    return [
        rules.encode(across, y(title, "low:Q"), alt.Y2("high:Q"), offset),
        frames.ring(base),
        dots.add_params(frames.PICKED),
        *([words] if lost else []),
    ]


def hollow(published: pd.DataFrame, order: Sequence[str], knob: str, title: str | Axis) -> alt.Chart:
    """Printed numbers as hollow marks."""
    beside = [alt.XOffset("place:N").scale(domain=PLACES)] if title == BOTH else []
    tips = [alt.Tooltip("arm:N", title=knob), alt.Tooltip("said:N", title="printed")]
    marks = alt.Chart(published.assign(place="printed")).mark_point(
        size=110, color=BLACK, strokeWidth=1.6, opacity=1, filled=False
    )
    return marks.encode(x(order, knob), y(title), *beside, tooltip=[*tips, "table:N", "note:N"])
