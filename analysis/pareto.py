"""Accuracy against compression: what does a smaller student cost?

Each dot is a trial; right is smaller (cheaper, faster: what accuracy is set against), up is better. The line is the
front: the best accuracy of a fully trained trial at this compression or above. Faint dots were stopped early, below
what they would have come to; those so far below that the axis would show little else are left out, and counted. The
diamond is the teacher; triangles, a little beside each other, are one student trained with equal budgets by labels
alone, by KD, and by a hint and KD. Hollow circles, where the front was confirmed, are means over new seeds, each on the
95 % interval that these seeds give, on the same validation images; a circle below its dot is what selection cost.
"""

import altair as alt
import pandas as pd

from kdsearch.results import front, seeds
from kdsearch.results.facts import Facts
from kdsearch.results.metric import words
from kdsearch.results.objectives import Objective, objective
from kdsearch.results.tables import Tables

from . import frames

ASIDE = {"labels": -11, "hint+kd": 11}
"""Pixels to the right."""
SHAPES = {"teacher": "diamond", "labels": "triangle-down", "kd": "triangle-right", "hint+kd": "triangle-up"}


def chart(tables: Tables, facts: Facts, against: str | None = None) -> alt.LayerChart:
    """Front, trials, references and teacher, in layers; `against`: an objective other than the search's own."""
    own = objective(against or facts.against)
    frame = frames.trials(tables)
    if own.name != facts.against:
        frame = frame.assign(front=frame["trial"].isin(front.members(tables.trials.values(), own.name)))
    marked = _marks(frame.query("reference.notna()"), facts, own)
    drawn, left_out = _zoomed(frame.query("reference.isna()"), marked)
    high, wide = y(facts), x(own)
    base = alt.Chart(drawn).encode(wide, high)
    line = alt.Chart(drawn[drawn["front"]]).mark_line(interpolate="step-before", color="#2563a8", strokeWidth=2)
    dots = base.mark_circle(size=90, stroke="white", strokeWidth=0.5).encode(
        color=frames.colour(drawn),
        opacity=alt.Opacity("shade:Q", scale=None),
        tooltip=frames.tooltip(drawn, own.name),
    )
    means = _confirmed(seeds.members(tables, facts.validation_images), tables, facts, own)
    layers = alt.layer(
        line.encode(wide, high), *_beside(marked, wide, high), *means, frames.ring(base), dots.add_params(frames.PICKED)
    )
    title = alt.TitleParams(f"Accuracy against {own.gain}", subtitle=left_out)
    return layers.properties(width=440, height=340, title=title)


def x(own: Objective) -> alt.X:
    """Of what accuracy is set against."""
    return alt.X(f"{own.ratio}:Q", title=own.axis).scale(type="log", nice=False, padding=12)


def y(facts: Facts, field: str = "accuracy:Q") -> alt.Y:
    """Of what the search looks at."""
    scale = alt.Y(field, title=f"{words(facts.metric)} (validation)").scale(zero=False, nice=False, padding=12)
    return scale.axis(format="%")


def _zoomed(drawn: pd.DataFrame, marks: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Without the stopped trials that would squeeze all others into half of the axis; and how many those are."""
    ended = drawn.query("state == 'complete'")
    shown = pd.concat([ended["accuracy"], marks["accuracy"]])
    if ended.empty:
        return drawn, []
    floor = shown.min() - max(shown.max() - shown.min(), 0.02)
    below = drawn["accuracy"] < floor
    said = f"zoomed in: {below.sum()} trials that were not fully trained lie below {100 * floor:.0f} %"
    kept = pd.DataFrame(drawn[~below])
    return kept, [said] if below.any() else []


def _beside(marks: pd.DataFrame, wide: alt.X, high: alt.Y) -> list[alt.Chart]:
    """Teacher and references; these are of one size, so each stands a little beside the other."""
    there = [name for name in SHAPES if name in set(marks["mark"])]
    shape = alt.Shape("mark:N", title=None).scale(domain=there, range=[SHAPES[name] for name in there])
    return [
        alt.Chart(marks[marks["mark"] == name])
        .mark_point(size=110, filled=True, opacity=1, xOffset=ASIDE.get(name, 0))
        .encode(
            wide,
            high,
            color=alt.value("#20262d"),
            shape=shape.legend(orient="bottom"),
            tooltip=["mark:N", alt.Tooltip("accuracy:Q", format=".2%"), alt.Tooltip("parameters:Q", format=",")],
        )
        for name in there
    ]


def _marks(references: pd.DataFrame, facts: Facts, own: Objective) -> pd.DataFrame:
    columns = ("accuracy", own.ratio, "parameters")
    rows = [
        {"mark": row["reference"], **{name: row[name] for name in columns}}
        for _, row in references[references["state"] == "complete"].iterrows()
    ]
    if facts.teacher_accuracy is not None:
        size = facts.teacher_parameters
        rows.append({"mark": "teacher", "accuracy": facts.teacher_accuracy, own.ratio: 1.0, "parameters": size})
    return pd.DataFrame(rows, columns=["mark", *columns])


def _confirmed(members: list[seeds.Member], tables: Tables, facts: Facts, own: Objective) -> list[alt.Chart]:
    """Each confirmed mean as a hollow mark on a rule, its interval; no layers where nothing was confirmed."""
    rows = [
        {
            "trial": member.trial, "accuracy": member.confirmed.value,
            **{name: tables.trials[member.trial][name] for name in (own.ratio, "parameters")},
            "seeds": len(member.accuracies), "selected": member.selected, "half": member.confirmed.half,
            "low": max(member.confirmed.value - (member.confirmed.half or 0), 0),
            "high": min(member.confirmed.value + (member.confirmed.half or 0), 1),
        }
        for member in members
    ]  # fmt: skip
    if not rows:
        return []
    shares = {"selected": "selected", "accuracy": "confirmed", "half": "± (95 %)"}
    base = alt.Chart(pd.DataFrame(rows)).encode(
        x(own),
        tooltip=[
            alt.Tooltip("trial:N"),
            *(alt.Tooltip(f"{name}:Q", title=title, format=".2%") for name, title in shares.items()),
            "seeds:Q",
            alt.Tooltip("parameters:Q", format=","),
        ],
    )
    rules = base.mark_rule(color="#20262d", strokeWidth=1.5).encode(y(facts, "low:Q"), alt.Y2("high:Q"))
    # The rule is drawn last: within a narrow interval the circle would hide it.
    return [base.mark_point(size=150, color="#20262d", strokeWidth=1.5, opacity=1).encode(y(facts)), rules]
