"""How much distillation, and how soft: which α and which temperature?

Left, the mean accuracy of each cell in percent, over its 95 % interval where it has several seeds: a difference that
is smaller than the intervals is none. Right, in frames, what the paper printed on the same grid, by the protocol under
the picture: one run a cell. Colours are points from the mean of the same side's grid and reach equally far on both
sides: a side that is pale all over depends little on α and T. A column that is dark from top to bottom is a temperature
that works for every α, a single dark cell among pale ones is more likely luck.
"""

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from kdsearch.papers import printed
from kdsearch.results.cells import Cell
from kdsearch.results.facts import Facts
from kdsearch.results.tables import Tables

from . import captions, frames, intervals

TABLE = "seed2-alpha-temperature"
SIZE = {"width": 400, "height": 300}
BLUES = ["#eef4fa", "#6f9fd0"]
X = alt.X("T:O", title="T").axis(labelAngle=0)
Y = alt.Y("alpha:O", title="α", sort="ascending").axis(format=".1f")


def chart(tables: Tables, facts: Facts) -> Any:
    """The grid of means beside the printed grid."""
    found = intervals.found(tables, facts)
    if said := intervals.missing(found, "alpha", "T"):
        return said
    own = [cell for cell in found if {"alpha", "T"} <= set(cell.knobs)]
    caption = [*captions.here(own, facts, "±: half of the 95\u00a0% interval over seeds"), captions.told(TABLE)]
    shown, published = intervals.frame(own, tables), _published()
    means = points(shown.query("place == 'mean'"))
    reach = max(means["points"].abs().max(), published["points"].abs().max(), 0.1)
    return captions.under([_ours(own, shown, means, reach), printed_grid(published, reach)], caption)


def points(frame: pd.DataFrame) -> pd.DataFrame:
    """With a column of points from the mean of all cells."""
    return frame.assign(points=100 * (frame["accuracy"] - frame["accuracy"].mean()))


def _ours(found: Sequence[Cell], shown: pd.DataFrame, means: pd.DataFrame, reach: float) -> alt.LayerChart:
    means = means.assign(number=[f"{100 * value:.1f}" for value in means["accuracy"]])
    means = means.assign(half=["±" + text.partition("±")[2].rstrip("% ") for text in means["said"]])
    base = alt.Chart(means).encode(X, Y, tooltip=["alpha:O", "T:O", alt.Tooltip("said:N", title="accuracy"), "of:N"])
    colour = alt.Color("points:Q", title=["points from", "the mean here"]).scale(range=BLUES, domain=[-reach, reach])
    intervals_known = bool((means["half"] != "±").any())
    layers = [
        base.mark_rect().encode(colour),
        base.mark_text(fontSize=12, dy=-7 if intervals_known else 0).encode(text="number:N"),
    ]
    if intervals_known:
        layers.append(base.mark_text(fontSize=10, dy=8).encode(text="half:N"))
    # A click on any seed's curve frames its cell.
    frame = alt.Chart(shown).mark_rect(fill=None, stroke=frames.CHOSEN, strokeWidth=3).encode(X, Y)
    layers.append(frame.encode(opacity=frames.shown_when_picked()).add_params(frames.PICKED))
    lost = pd.DataFrame([cell.knobs for cell in found if cell.failed and not cell.accuracies], columns=["alpha", "T"])
    layers.append(alt.Chart(lost).mark_text(text="failed", color=intervals.RED).encode(X, Y))
    return alt.layer(*layers).properties(**SIZE, title="Here: means")


def _published() -> pd.DataFrame:
    rows = []
    for name, value in printed.accuracies(TABLE).items():
        if name.startswith("α="):
            alpha, temperature = (float(part.partition("=")[2]) for part in name.split())
            rows.append({"alpha": alpha, "T": int(temperature), "accuracy": value, "number": f"{100 * value:.2f}"})
    return points(pd.DataFrame(rows))


def printed_grid(published: pd.DataFrame, reach: float) -> alt.LayerChart:
    base = alt.Chart(published).encode(X, Y, tooltip=["alpha:O", "T:O", alt.Tooltip("accuracy:Q", format=".2%")])
    stroke = alt.Stroke("points:Q", title=["points from", "the mean printed"]).scale(
        range=["#dcdfe3", "#20262d"], domain=[-reach, reach]
    )
    squares = base.mark_rect(filled=False, fill=None, strokeWidth=3, width={"band": 0.84}, height={"band": 0.8})
    layers = (squares.encode(stroke.legend(format="+.2~f")), base.mark_text(fontSize=12).encode(text="number:N"))
    return alt.layer(*layers).properties(**SIZE, title="Printed")
