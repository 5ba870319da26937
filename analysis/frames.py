"""A search's tables as the charts read them: pandas frames, with a trial's settings as columns of their own."""

import json
import warnings
from collections.abc import Mapping
from typing import Any

import altair as alt
import pandas as pd

from kdsearch.config.part import Ramp, Weight
from kdsearch.config.pipeline import Pipeline
from kdsearch.results.metric import column, score
from kdsearch.results.objectives import objective
from kdsearch.results.tables import Tables

PICKED = alt.selection_point(name="picked", fields=["trial"], on="click", clear="dblclick", empty=False)
"""The trial that was clicked, in every chart; a double click forgets it."""

CHOSEN = "#c026d3"
"""Of the trial that was clicked: no state has it."""

COLOURS = {"complete": "#2563a8", "stopped": "#9aa5b1", "running": "#e0a030", "failed": "#b03030"}


SHADE = {"complete": 0.9, "stopped": 0.3}
"""Opacity of a trial by its state."""


def trials(tables: Tables) -> pd.DataFrame:
    """A row a trial that has an accuracy: drawn ones and references."""
    rows = [plain(row) for row in tables.trials.values() if row["accuracy"] is not None]
    names = dict.fromkeys(name for row in rows for name in row)
    # A dot in a field's name means nesting to Vega.
    return pd.DataFrame(rows, columns=list(names) or ["trial"]).rename(
        columns=lambda name: name.replace("knob.", "knob ")
    )


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's row without its pipeline, and with what the charts read out of that; its accuracy is what the search
    looks at."""
    student = Pipeline.model_validate(json.loads(row["pipeline"])).student
    kept = {name: value for name, value in row.items() if name != "pipeline"}
    return kept | {
        "accuracy": score(row),
        "kind": f"reference: {row['reference']}" if row["reference"] else row["state"],
        "shade": SHADE.get(row["state"], 0.6),
        "pairs": student.pairs,
        "hints": "+".join(str(pair.hint) for pair in student.hints.pairs) if student.hints else "none",
        "depth": student.net.layers,
        "width": getattr(student.net, "width", None),
        "lambda": _number(student.labels_weight),
        "tau": student.kd.temperature if student.kd else None,
    }


def _number(weight: Weight) -> float:
    """Of one that changes, what it comes to."""
    return weight.end if isinstance(weight, Ramp) else weight


def drawn(tables: Tables) -> pd.DataFrame:
    """The trials that the search drew, without the references."""
    return trials(tables).query("reference.isna()")


def curves(tables: Tables) -> pd.DataFrame:
    """A row an epoch of a trial's last stage."""
    known = tables.trials
    rows = [
        {
            "trial": row["trial"],
            "kd_epoch": row["kd_epoch"],
            "accuracy": row[column(known[row["trial"]].get("metric"))],
            "state": known[row["trial"]]["state"],
            "shade": SHADE.get(known[row["trial"]]["state"], 0.6),
            "reference": known[row["trial"]]["reference"] or "drawn",
        }
        for row in tables.epochs
        if row["kd_epoch"] is not None and row["trial"] in known
    ]
    return pd.DataFrame(rows, columns=["trial", "kd_epoch", "accuracy", "state", "shade", "reference"])


def ring(base: alt.Chart) -> alt.Chart:
    """A ring around the trial that was clicked; drawn below the trials, so that it takes no clicks from them."""
    return base.mark_point(size=320, color=CHOSEN, strokeWidth=2.5).encode(opacity=shown_when_picked())


def shown_when_picked() -> Any:
    """An opacity that is 1 for the trial that was clicked, else 0."""
    return alt.when(PICKED).then(alt.value(1)).otherwise(alt.value(0))


def colour(frame: pd.DataFrame) -> alt.Color:
    """A trial's state; the legend names those that are drawn."""
    there = {state: colour for state, colour in COLOURS.items() if state in set(frame["state"])}
    return alt.Color("state:N", title="state").scale(domain=list(there), range=list(there.values()))


def tooltip(frame: pd.DataFrame, against: str = "parameters") -> list[alt.Tooltip]:
    """What hovering shows: the outcome, what it is set against, then every knob."""
    own = objective(against)
    amount = alt.Tooltip(f"{own.column}:Q", title=own.label + (f" ({own.unit})" if own.unit else ""), format=",")
    looked_at = (
        [] if against == "parameters" else [alt.Tooltip(f"{own.ratio}:Q", title=own.gain, format=".3~g"), amount]
    )
    knobs = [name for name in frame.columns if name.startswith("knob ")]
    return [
        alt.Tooltip("trial:N"),
        alt.Tooltip("kind:N", title="outcome"),
        alt.Tooltip("accuracy:Q", format=".2%"),
        *looked_at,
        alt.Tooltip("compression:Q", format=".3~g"),
        alt.Tooltip("parameters:Q", format=","),
        alt.Tooltip("pairs:N", title="pairs (hint→guided)"),
        *(_knob(name, frame[name].dtype.kind) for name in knobs),
    ]


def _knob(name: str, kind: str) -> alt.Tooltip:
    title = name.removeprefix("knob ")
    return (
        alt.Tooltip(f"{name}:Q", title=title, format=".3~g") if kind == "f" else alt.Tooltip(f"{name}:N", title=title)
    )


def sentence(text: str) -> alt.Chart:
    """What stands where a chart has nothing to show."""
    said = pd.DataFrame({"text": [text]})
    return alt.Chart(said).mark_text(fontSize=13).encode(text="text:N").properties(width=440, height=60)


def together(charts: list[Any]) -> alt.ConcatChart:
    """Charts side by side, three in a row; a click in one is seen in all."""
    with warnings.catch_warnings():
        # One selection in many charts is the point.
        warnings.filterwarnings("ignore", "Automatically deduplicated selection parameter", UserWarning)
        return alt.concat(*charts, columns=3, align="each")
