"""Which way to distil, with which weight, for this pair?

A panel a method: each dot is a fully trained trial at its weight, in units of the published one, which the line marks
and which was drawn first. All panels share their axis of accuracies, so that a method whose dots lie low everywhere is
worse, and one whose dots rise to one side wants another weight. Methods stand in the order of their best trial; the
best of a few draws is high by luck, too, and of two methods with four draws each the better one is not known to be so.
"""

from typing import Any

import altair as alt
import pandas as pd

from kdsearch.papers import WEIGHTS
from kdsearch.results.facts import Facts
from kdsearch.results.metric import score
from kdsearch.results.tables import Tables

from . import captions, frames, intervals

KNOB = "method"
COLUMNS = 4
WIDTH, HEIGHT = 150, 120


def chart(tables: Tables, facts: Facts) -> Any:
    """Accuracy by weight, a panel a method."""
    points = weighed(tables)
    if points.empty:
        return frames.sentence(f"This chart needs fully trained trials with the knob '{KNOB}' and its weight.")
    best = {str(method): float(own["accuracy"].max()) for method, own in points.groupby("method")}
    order = sorted(best, key=lambda method: -best[method])
    across = alt.X("times:Q", title="weight / published").scale(type="log", domain=[0.01, 100])
    base = alt.Chart(points).encode(
        across.axis(values=[0.01, 0.1, 1, 10, 100], format="~g", grid=False), intervals.y("accuracy (validation)")
    )
    tips = ["trial:N", "method:N", "weight:Q", alt.Tooltip("accuracy:Q", format=".2%")]
    soft = (
        base.transform_filter("isValid(datum.tau)")
        .mark_circle(size=60, opacity=0.9)
        .encode(color=alt.Color("tau:Q", title="τ").scale(type="log", scheme="viridis"), tooltip=[*tips, "tau:Q"])
    )
    hard = base.transform_filter("!isValid(datum.tau)").mark_circle(size=60, opacity=0.9, color=intervals.BLUE)
    usual = base.mark_rule(color=intervals.BLACK, opacity=0.5, strokeDash=[3, 3]).encode(x=alt.datum(1))
    layers = alt.layer(usual, frames.ring(base), hard.encode(tooltip=tips), soft.add_params(frames.PICKED)).properties(
        width=WIDTH, height=HEIGHT
    )
    panels = layers.facet(alt.Facet("method:N", title=None, sort=order), columns=COLUMNS)
    told = f"Dots: here, {captions.made(facts)}, {len(points)} fully trained trials{captions.epochs(facts, 'each')}, "
    return captions.under([panels], [told + "one seed each."])


def weighed(tables: Tables) -> pd.DataFrame:
    """A row a fully trained draw: `trial`, `method`, `weight`, that in `times` the published one, `tau` (empty where
    nothing is softened), `accuracy`."""
    rows = []
    for row in (row for row in tables.trials.values() if not row.get("reference")):
        method = row.get(f"knob.{KNOB}")
        weight = row.get(f"knob.{method} weight")
        if row["state"] == "complete" and method in WEIGHTS and weight is not None:
            tau = row.get("knob.tau")
            rows.append(
                {
                    "trial": row["trial"], "method": method, "weight": weight, "times": weight / WEIGHTS[method],
                    "tau": tau, "accuracy": score(row),
                }
            )  # fmt: skip
    return pd.DataFrame(rows, columns=["trial", "method", "weight", "times", "tau", "accuracy"])
