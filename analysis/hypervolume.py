"""How much front did the search's effort buy?

Hypervolume of the front over what its students had cost by then: the area that fully trained trials dominate in log10
of compression (or of what accuracy is set against) and accuracy, above 1 and chance. It steps up where a completed
trial (a dot) enlarged the front; small dots added nothing, and a long flat end says that more of the same would add
little. All trials that were drawn count as cost, stopped ones too; references, teachers and recording have their lines
in the table of costs. The axis of the hypervolume does not begin at 0. MACs-weighted epochs are epochs times the
multiply-accumulates of the student's forward pass for one image; seconds are of training, added up over trials side by
side.
"""

from typing import Any

import altair as alt
import pandas as pd

from kdsearch.results import costs
from kdsearch.results.facts import Facts
from kdsearch.results.tables import Tables

from . import frames

TITLES = {
    "epochs": "student epochs",
    "weighted_epochs": "MACs-weighted epochs",
    "seconds": "seconds of training",
}
BLUE = "#2563a8"


def chart(tables: Tables, facts: Facts) -> Any:
    """A step line over student epochs; beside it the same over the two other costs."""
    steps = frame(tables, facts)
    if steps.empty:
        return frames.sentence("A hypervolume needs a fully trained trial.")
    now = costs.spent(tables, facts)["students"] | {"hypervolume": steps["hypervolume"].iloc[-1]}
    columns = [*costs.COSTS, "hypervolume"]
    line = pd.DataFrame([*steps.to_dict("records"), now], columns=columns)
    first, *others = (_over(cost, steps, line) for cost in costs.COSTS)
    wide = first.properties(width=440, height=240, title="Hypervolume of the front over cost")
    return frames.together([wide, *(other.properties(width=220, height=240) for other in others)])


def frame(tables: Tables, facts: Facts) -> pd.DataFrame:
    """ledger.growth, and what each completed trial added."""
    columns = ["trial", "completed", *costs.COSTS, "hypervolume"]
    steps = pd.DataFrame(costs.growth(tables, facts), columns=columns)
    return steps.assign(added=steps["hypervolume"].diff().fillna(steps["hypervolume"]))


def _over(cost: str, steps: pd.DataFrame, line: pd.DataFrame) -> Any:
    x = alt.X(f"{cost}:Q", title=TITLES[cost]).axis(format="~s", tickCount=5).scale(zero=True, nice=False)
    y = alt.Y("hypervolume:Q", title="hypervolume" if cost == "epochs" else None).scale(zero=False, padding=8)
    base = alt.Chart(steps).encode(x, y)
    path = alt.Chart(line).mark_line(interpolate="step-after", color=BLUE, strokeWidth=2).encode(x, y)
    dots = base.mark_circle(color=BLUE, opacity=1, stroke="white", strokeWidth=0.5).encode(
        size=alt.when("datum.added > 0").then(alt.value(80)).otherwise(alt.value(20)),
        tooltip=[
            "trial:N",
            alt.Tooltip("completed:Q", title="completed by then"),
            alt.Tooltip("hypervolume:Q", format=".4f"),
            alt.Tooltip("added:Q", format=".4f"),
            *(alt.Tooltip(f"{name}:Q", title=title, format=",.0f") for name, title in TITLES.items()),
        ],
    )
    return alt.layer(path, frames.ring(base), dots.add_params(frames.PICKED))
