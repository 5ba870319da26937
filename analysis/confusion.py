"""Which classes does the front take for which?

A panel a fully trained student of the front, the most accurate first; a row a class, a column what its validation
images were taken for. Along the diagonal is the accuracy of a class. Hovering tells the counts.
"""

from collections.abc import Mapping
from typing import Any

import altair as alt
import pandas as pd

from kdsearch.results import front
from kdsearch.results.facts import Facts
from kdsearch.results.students import made
from kdsearch.results.tables import Tables

MOST = 6
"""Panels."""
CLASSES = 40
"""Of more, only the accuracies can be told apart."""


def members(tables: Tables) -> dict[str, Mapping[str, Any]]:
    """What is recorded of the front's students that were counted, by trial, at most MOST."""
    found = {name: made(tables.folder, name) for name in front.members(tables.trials.values())}
    counted = [(name, own) for name, own in found.items() if own and own.get("confusion")]
    return dict(counted[:MOST])


def frame(found: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """A row a student, class and what some of its images were taken for."""
    rows = []
    for trial, own in found.items():
        classes, images = own["classes"], {}
        for one, _, count in own["confusion"]:
            images[one] = images.get(one, 0) + count
        rows += [
            {"trial": trial, "class": classes[one], "taken for": classes[other], "images": count, "of": images[one],
             "share": count / images[one]}
            for one, other, count in own["confusion"]
        ]  # fmt: skip
    return pd.DataFrame(rows, columns=["trial", "class", "taken for", "images", "of", "share"])


def chart(tables: Tables, facts: Facts) -> Any:
    """Heat maps; of many classes, bars of their accuracies."""
    drawn = frame(members(tables))
    tooltip = ["trial:N", "class:N", "taken for:N", "images:Q", "of:Q", alt.Tooltip("share:Q", format=".1%")]
    if facts.classes > CLASSES:
        right = drawn[drawn["class"] == drawn["taken for"]]
        bars = alt.Chart(right).mark_tick().encode(alt.X("share:Q").axis(format="%"), y="trial:N", tooltip=tooltip)
        return bars.properties(width=440, title="Accuracy of each class")
    side = max(110, min(220, 22 * facts.classes))
    panels = (
        alt.Chart(drawn)
        .mark_rect()
        .encode(
            alt.X("taken for:N", sort=None),
            alt.Y("class:N", sort=None),
            alt.Color("share:Q", title="share").scale(scheme="blues", domain=[0, 1]).legend(format="%"),
            alt.Facet("trial:N", columns=3, sort=list(dict.fromkeys(drawn["trial"]))),
            tooltip=tooltip,
        )
    )
    return panels.properties(width=side, height=side)
