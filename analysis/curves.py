"""Learning curves: who was ahead when trials were judged, and who came out ahead?

Validation accuracy over the epochs of a student's last stage, a line a trial; of a grid, the seeds of a cell have one
colour. Faint lines were stopped. A hint stage
costs epochs of the same budget, so trials with hints have shorter lines.
"""

import altair as alt

from kdsearch.results import cells
from kdsearch.results.facts import Facts
from kdsearch.results.metric import words
from kdsearch.results.tables import Tables

from . import frames


def chart(tables: Tables, facts: Facts) -> alt.Chart:
    """One line a trial; the one that was clicked is bold."""
    drawn = frames.curves(tables)
    colour, named = frames.colour(drawn), ["trial:N"]
    if facts.is_grid:
        names = {cell.trial: cell.name for cell in cells.cells(tables, facts.validation_images)}
        firsts = {name: row["replicate_of"] or name for name, row in tables.trials.items()}
        drawn["cell"] = [names.get(firsts[trial], "reference") for trial in drawn["trial"]]
        named = ["trial:N", "cell:N"]
        colour = alt.Color("cell:N", title=None).scale(scheme="tableau20").legend(columns=2, symbolLimit=40)
    # Few epochs would else have ticks between them.
    ticks = int(min(max(drawn["kd_epoch"].max() - 1, 1), 10)) if len(drawn) else 1
    lines = (
        alt.Chart(drawn)
        .mark_line()
        .encode(
            alt.X("kd_epoch:Q", title="epoch of the last stage").axis(tickCount=ticks, tickMinStep=1, format="d"),
            alt.Y("accuracy:Q", title=f"{words(facts.metric)} (validation)").axis(format="%"),
            detail="trial:N",
            color=alt.when(frames.PICKED).then(alt.value(frames.CHOSEN)).otherwise(colour),
            opacity=alt.when(frames.PICKED).then(alt.value(1)).otherwise(alt.Opacity("shade:Q", scale=None)),
            strokeWidth=alt.when(frames.PICKED).then(alt.value(4)).otherwise(alt.value(1.5)),
            tooltip=[*named, "state:N", "kd_epoch:Q", alt.Tooltip("accuracy:Q", format=".2%")],
        )
    )
    return lines.add_params(frames.PICKED).properties(width=440, height=340, title="Learning curves")
