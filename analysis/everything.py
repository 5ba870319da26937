"""Which knobs matter when all of them are free: shape, hints, method, softening, assistant, amount of data?

Left, trials by their assistant (colour) and the share of the images that the student saw (size): a colour or a size
that lies above the others at equal compression pays. Right, the importances: a knob whose line reaches zero may not
matter at all.
"""

import altair as alt

from kdsearch.results.facts import Facts
from kdsearch.results.objectives import objective
from kdsearch.results.tables import Tables

from . import frames, pareto


def chart(tables: Tables, facts: Facts) -> alt.LayerChart:
    """Trials by assistant (colour) and share of the data (size)."""
    drawn = frames.drawn(tables)
    base = alt.Chart(drawn).encode(pareto.x(objective(facts.against)), pareto.y(facts))
    dots = base.mark_circle(stroke="white", strokeWidth=0.5).encode(
        color=alt.Color("knob assistant:N", title="assistant"),
        size=alt.Size("knob fraction:O", title="share of the images").scale(range=[40, 260]),
        opacity=alt.Opacity("shade:Q", scale=None),
        tooltip=frames.tooltip(drawn, facts.against),
    )
    layers = alt.layer(frames.ring(base), dots.add_params(frames.PICKED))
    return layers.properties(width=440, height=340, title="By assistant and amount of data")
