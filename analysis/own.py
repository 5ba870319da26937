"""Which of my students learns the most from my teacher, and from what: answers, hints, how much of each?

Left, every trial by where its hint sat in both networks (colour): where one colour lies above the others at equal
compression, that hint pays. Right, the same trials by the labels' share of the loss: where they rise to the left, the
teacher's answers teach more than the labels do.
"""

from typing import Any

import altair as alt

from kdsearch.results.facts import Facts
from kdsearch.results.objectives import objective
from kdsearch.results.tables import Tables

from . import frames, pareto

HINTS = ["none", "1/3", "2/3", "1/3+2/3", "all"]


def chart(tables: Tables, facts: Facts) -> Any:
    """Trials by hint (colour), against compression and against the labels' share."""
    drawn = frames.drawn(tables)
    if "knob hint" not in drawn:
        drawn = drawn.assign(**{"knob hint": "none"})  # of networks without maps
    drawn = drawn.assign(**{"knob hint": drawn["knob hint"].fillna("none")})
    share = alt.X("lambda:Q", title="λ, the labels' share of the loss").scale(domain=[0, 1])
    sides = [
        _panel(drawn, facts, pareto.x(objective(facts.against)), "By hint"),
        _panel(drawn, facts, share, "By the labels' share"),
    ]
    return frames.together(sides)


def _panel(drawn: frames.pd.DataFrame, facts: Facts, x: alt.X, title: str) -> alt.LayerChart:
    base = alt.Chart(drawn).encode(x, pareto.y(facts))
    dots = base.mark_point(size=90, filled=True).encode(
        color=alt.Color("knob hint:N", title="hint, in parts of the depth").scale(domain=HINTS, scheme="tableau10"),
        opacity=alt.Opacity("shade:Q", scale=None),
        tooltip=frames.tooltip(drawn, facts.against),
    )
    return alt.layer(frames.ring(base), dots.add_params(frames.PICKED)).properties(width=440, height=340, title=title)
