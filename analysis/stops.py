"""Who was stopped, at which milestone, and how near did the rule come to stopping the front?

A panel a milestone, a dot a trial at the moment it was judged: its size, and its accuracy at that epoch of the last
stage. Grey trials were stopped there, blue ones went on, and those that came to be the front are ringed in black: a
ring close to grey dots of its size is a member that the rule nearly lost. A short line is the accuracy that its size
had to reach, as it stood when the last trial of that size was judged; it moved as trials came in, and rules by front
send on trials below it too. Hovering tells how each stood among those judged before it.
"""

from typing import Any

import altair as alt
import pandas as pd

from kdsearch.results.facts import Facts
from kdsearch.results.objectives import objective
from kdsearch.results.tables import Tables

from . import frames, pareto

OUTCOMES = {"went on": "#2563a8", "stopped": "#9aa5b1"}
BY_SIZE = ("union", "strata")
"""Rules to which the cut-offs of sizes matter."""
ON_FRONT = "on the final front"


def chart(tables: Tables, facts: Facts) -> Any:
    """The milestones' panels, three in a row."""
    verdicts = frame(tables)
    if verdicts.empty:
        return frames.sentence("No trial was judged before its end.")
    rules = cutoffs(verdicts) if facts.rule in BY_SIZE else verdicts.iloc[:0]
    sizes = [verdicts["parameters"].min(), verdicts["parameters"].max()]
    of = (sizes, set(verdicts["outcome"]), facts)  # of all panels: they share axis and legend
    panels = [
        _panel(at, verdicts.query("milestone == @at"), rules.query("milestone == @at"), of)
        for at in sorted(set(verdicts["milestone"]))
    ]
    return frames.together(panels)


def frame(tables: Tables) -> pd.DataFrame:
    """A row a verdict."""
    rows = [
        row | {
            "outcome": "went on" if row["goes_on"] else "stopped",
            "on_front": bool(tables.trials.get(row["trial"], {}).get("front")),
            "behind": f"{row['better']} of {row['recorded']}",
            "behind_in_size": f"{row['stratum_better']} of {row['stratum_recorded']}",
        }
        for row in tables.verdicts
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(rows[0]) if rows else ["milestone"])


def cutoffs(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Columns milestone, stratum, cutoff (the last), low and high (the sizes of the stratum that were judged)."""
    recorded = verdicts[verdicts["accuracy"].notna()]
    found = recorded.groupby(["milestone", "stratum"], as_index=False).agg(
        cutoff=("cutoff", "last"), low=("parameters", "min"), high=("parameters", "max")
    )
    # A stratum with one size would have no length.
    return found.assign(low=found["low"] / 1.12, high=found["high"] * 1.12)


def _panel(milestone: int, verdicts: pd.DataFrame, rules: pd.DataFrame, of: tuple[list[float], set[str], Facts]) -> Any:
    sizes, outcomes, facts = of
    own = objective(facts.against)
    sized = f"{own.label}, millionths of the teacher's" if own.measured else own.label
    x = alt.X("parameters:Q", title=sized).scale(type="log", domain=sizes, nice=False, padding=14)
    x = x.axis(format="~s", labelOverlap=True)
    y = pareto.y(facts)
    base = alt.Chart(verdicts).encode(x, y)
    there = [name for name in OUTCOMES if name in outcomes]
    dots = base.mark_circle(size=80, opacity=0.9, stroke="white", strokeWidth=0.5).encode(
        color=alt.Color("outcome:N", title=None).scale(domain=there, range=[OUTCOMES[name] for name in there]),
        tooltip=[
            "trial:N",
            "outcome:N",
            alt.Tooltip("accuracy:Q", format=".2%"),
            alt.Tooltip("parameters:Q", title=sized, format=","),
            alt.Tooltip("behind_in_size:N", title="of its size, better"),
            alt.Tooltip("cutoff:Q", title="its size had to reach", format=".2%"),
            alt.Tooltip("stratum:Q", title="class of size (0: smallest)"),
            alt.Tooltip("behind:N", title="of all, better"),
            alt.Tooltip("front:Q", title="front (0: best)"),
            alt.Tooltip("rank:Q", title="ahead of it by front"),
        ],
    )
    line = alt.Chart(rules).mark_rule(color="#5a6570", strokeWidth=1.5)
    ends = (alt.X("low:Q"), alt.X2("high:Q"), alt.Y("cutoff:Q"))
    members = alt.Chart(verdicts[verdicts["on_front"]].assign(mark=ON_FRONT))
    black = alt.Stroke("mark:N", title=None).scale(domain=[ON_FRONT], range=["#20262d"])
    circles = members.mark_point(size=150, strokeWidth=1.8, opacity=1).encode(x, y, black)
    stopped = int((~verdicts["goes_on"]).sum())
    title = f"KD epoch {milestone}: {stopped} of {len(verdicts)} stopped"
    layers = alt.layer(line.encode(*ends), frames.ring(base), circles, dots.add_params(frames.PICKED))
    return layers.properties(width=270, height=260, title=title)
