"""How much distillation, and how soft: which α and which temperature?

Left, the mean accuracy of each cell in percent, over its 95 % interval where it has several seeds: a difference that
is smaller than the intervals is none. Right, in frames, what the paper printed on the same grid, by the protocol under
the picture: one run a cell. Each side has colours of its own, so compare patterns: a column that is dark from top to
bottom is a temperature that works for every α, a single dark cell among pale ones is more likely luck.
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
    return captions.under([_ours(own, tables), _printed()], caption)


def _ours(found: Sequence[Cell], tables: Tables) -> alt.LayerChart:
    shown = intervals.frame(found, tables)
    means = shown[shown["place"] == "mean"]
    means = means.assign(number=[f"{100 * value:.1f}" for value in means["accuracy"]])
    means = means.assign(half=["±" + text.partition("±")[2].rstrip("% ") for text in means["said"]])
    base = alt.Chart(means).encode(X, Y, tooltip=["alpha:O", "T:O", alt.Tooltip("said:N", title="accuracy"), "of:N"])
    colour = alt.Color("accuracy:Q", title="here").scale(range=BLUES, zero=False).legend(format=".2~%")
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


def _printed() -> alt.LayerChart:
    rows = []
    for name, value in printed.accuracies(TABLE).items():
        if name.startswith("α="):
            alpha, temperature = (float(part.partition("=")[2]) for part in name.split())
            rows.append({"alpha": alpha, "T": int(temperature), "accuracy": value, "number": f"{100 * value:.2f}"})
    base = alt.Chart(pd.DataFrame(rows)).encode(
        X, Y, tooltip=["alpha:O", "T:O", alt.Tooltip("accuracy:Q", format=".2%")]
    )
    stroke = alt.Stroke("accuracy:Q", title="printed").scale(range=["#dcdfe3", "#20262d"], zero=False)
    squares = base.mark_rect(filled=False, fill=None, strokeWidth=3, width={"band": 0.84}, height={"band": 0.8})
    layers = (squares.encode(stroke.legend(format=".2~%")), base.mark_text(fontSize=12).encode(text="number:N"))
    return alt.layer(*layers).properties(**SIZE, title="Printed")
