"""How much does a teacher help when the student sees only a part of the data?

A filled dot is the mean over seeds of students that saw this share of the images, the lines upright through it the
95 % interval of that mean; small dots are the seeds. The teacher helps where KD's line lies above the labels', beyond
the intervals; read across, from a point of the KD line to the labels' line at the same height, it tells how many more
images labels alone need. The shares' axis is logarithmic. Hollow circles on dashed lines are what the paper printed, by
the protocol under the picture.
"""

from typing import Any

import altair as alt
import pandas as pd

from kdsearch.results.facts import Facts
from kdsearch.results.tables import Tables

from . import captions, frames, intervals

TABLE = "seed2-data-fraction"
FRACTIONS = ["0.05", "0.1", "0.15", "0.25", "0.5", "0.75", "1"]
COLOURS = {"labels": "#9a5b00", "KD": "#2563a8"}
SIZE = {"width": 420, "height": 320}


def chart(tables: Tables, facts: Facts) -> Any:
    """Accuracy over the share of the images, by labels and by KD."""
    found = intervals.found(tables, facts)
    if said := intervals.missing(found, "fraction", "taught"):
        return said
    own = [cell for cell in found if {"fraction", "taught"} <= set(cell.knobs)]
    shown = intervals.frame(own, tables)
    arms = [
        captions.frame(TABLE, {f"{name} {share}": share for share in FRACTIONS}).assign(taught=name) for name in COLOURS
    ]
    published = pd.concat(arms).assign(fraction=lambda frame: frame["arm"].astype(float))
    caption = [*captions.here(own, facts), captions.told(TABLE)]
    if intervals.apart(shown, published, facts):
        shown, published, left, right = intervals.aligned(_named(shown), _named(published), [])
        here = alt.layer(*_ours(shown, left)).properties(**SIZE, title="Here")
        there = alt.layer(*_printed(published, right)).properties(**SIZE, title="Printed")
        return captions.under([here, there], caption).resolve_scale(x="shared", color="shared")
    both = alt.layer(*_ours(shown, intervals.BOTH), *_printed(published, intervals.BOTH))
    return captions.under([both.properties(**SIZE, title="Here and printed")], caption)


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    """KD and labels with all images are the arms that points can be measured from."""
    return frame.assign(arm=frame["taught"].where(frame["fraction"] == 1, None))


def _x(field: str = "fraction:Q") -> alt.X:
    values = [float(share) for share in FRACTIONS]
    scale = alt.X(field, title="share of the training images").scale(type="log", nice=False, padding=14)
    return scale.axis(values=values, format=".0%", labelOverlap=False, labelAngle=0)


def _colour() -> alt.Color:
    return alt.Color("taught:N", title=None).scale(domain=list(COLOURS), range=list(COLOURS.values()))


def _ours(shown: pd.DataFrame, title: str | intervals.Axis) -> list[alt.Chart]:
    """Layers: a line, intervals, means, seeds."""
    # Labels a little to the left of KD, so that their intervals do not hide each other.
    shown = shown.assign(share=shown["fraction"] * shown["taught"].map({"labels": 0.985, "KD": 1.015}).fillna(1.0))
    base = alt.Chart(shown).encode(_x("share:Q"), intervals.y(title))
    means = alt.Chart(shown[shown["place"] == "mean"]).encode(_x("share:Q"), _colour())
    mean = alt.datum.place == "mean"
    dots = base.mark_circle().encode(
        _colour(),
        size=alt.when(mean).then(alt.value(80)).otherwise(alt.value(22)),
        opacity=alt.when(mean).then(alt.value(1)).otherwise(alt.value(0.4)),
        tooltip=["cell:N", alt.Tooltip("said:N", title="accuracy"), "of:N"],
    )
    return [
        means.mark_line(strokeWidth=1.5).encode(intervals.y(title)),
        means.mark_rule(strokeWidth=2, opacity=0.6).encode(intervals.y(title, "low:Q"), alt.Y2("high:Q")),
        frames.ring(base),
        dots.add_params(frames.PICKED),
    ]


def _printed(published: pd.DataFrame, title: str | intervals.Axis) -> list[alt.Chart]:
    base = alt.Chart(published).encode(_x(), intervals.y(title), _colour())
    tips = ["taught:N", "fraction:Q", alt.Tooltip("said:N", title="printed"), "table:N", "note:N"]
    return [
        base.mark_line(strokeWidth=1.2, strokeDash=[5, 4]),
        base.mark_point(size=80, filled=False, fill="white", strokeWidth=1.6, opacity=1).encode(tooltip=tips),
    ]
