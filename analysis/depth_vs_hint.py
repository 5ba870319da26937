"""What buys more accuracy per parameter: a deeper student, or a better hint?

Left, every trial by its student's depth (colour) and the teacher's layers that gave hints (shape): where one colour
lies above the others at equal compression, depth pays; where one shape does, that hint pays. Right, the best fully
trained accuracy of each depth and hint, and in brackets the number of trials behind it: one is an anecdote.
"""

import altair as alt

from kdsearch.results.facts import Facts
from kdsearch.results.objectives import objective
from kdsearch.results.tables import Tables

from . import frames, pareto

HINTS = ["none", "1", "2", "3", "1+2", "2+3", "1+3", "1+2+3"]


def chart(tables: Tables, facts: Facts) -> alt.HConcatChart:
    """Trials by depth and hint, beside the heatmap of depth and hint."""
    return alt.hconcat(_trials(tables, facts), _heatmap(tables)).resolve_scale(color="independent", x="independent")


def _trials(tables: Tables, facts: Facts) -> alt.LayerChart:
    drawn = frames.drawn(tables)
    base = alt.Chart(drawn).encode(pareto.x(objective(facts.against)), pareto.y(facts))
    dots = base.mark_point(size=90, filled=True).encode(
        color=alt.Color("depth:O", title="convolutions").scale(scheme="viridis"),
        shape=alt.Shape("hints:N", title="hints").scale(domain=HINTS),
        opacity=alt.Opacity("shade:Q", scale=None),
        tooltip=frames.tooltip(drawn, facts.against),
    )
    layers = alt.layer(frames.ring(base), dots.add_params(frames.PICKED))
    return layers.properties(width=440, height=340, title="By depth and hint")


def _heatmap(tables: Tables) -> alt.LayerChart:
    drawn = frames.drawn(tables)
    cells = alt.Chart(drawn[drawn["state"] == "complete"]).transform_aggregate(
        best="max(accuracy)", trials="count()", groupby=["depth", "hints"]
    )
    x = alt.X("hints:N", title="hints (teacher's layers)").scale(domain=HINTS).axis(labelAngle=0)
    y = alt.Y("depth:O", title="convolutions", sort="ascending")
    squares = cells.mark_rect().encode(
        x,
        y,
        color=alt.Color("best:Q", title="best").scale(range=["#eef4fa", "#6f9fd0"], zero=False).legend(format="%"),
        tooltip=["depth:O", "hints:N", alt.Tooltip("best:Q", format=".2%"), alt.Tooltip("trials:Q", title="trials")],
    )
    label = "format(datum.best, '.1%') + ' (' + datum.trials + ')'"
    words = cells.transform_calculate(label=label).mark_text(fontSize=11).encode(x, y, text="label:N")
    frame = alt.Chart(drawn).mark_rect(fill=None, stroke=frames.CHOSEN, strokeWidth=3)
    picked = frame.encode(x, y, opacity=frames.shown_when_picked())
    title = "Best accuracy (trials) by depth and hint"
    return alt.layer(squares, words, picked).properties(width=440, height=340, title=title)
