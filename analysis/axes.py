"""The axes of a front on the report's page: one chart each, of which one is seen."""

import html
from collections.abc import Mapping
from typing import Any

from kdsearch.results.facts import Facts
from kdsearch.results.objectives import OBJECTIVES, known
from kdsearch.results.tables import Tables

from . import pareto

SWITCH = """
const axis = document.getElementById("axis");
axis?.addEventListener("change", () => {
  for (const one of axis.options) document.getElementById("chart-" + one.value).hidden = !one.selected;
});
"""
"""Shows the chart that is chosen, and hides the others."""


def others(tables: Tables, facts: Facts) -> dict[str, Any]:
    """The front against everything that is known of all judged trials, the search's own axis aside; `pareto-macs`."""
    judged = [row for row in tables.trials.values() if row["accuracy"] is not None]
    names = [name for name in known(judged) if name != facts.against]
    return {f"pareto-{name}": pareto.chart(tables, facts, name) for name in names}


def choice(facts: Facts, others: Mapping[str, Any]) -> str:
    """What accuracy is set against, to choose; nothing where there is no choice."""
    if not others:
        return ""
    values = {"pareto": facts.against} | {name: name.removeprefix("pareto-") for name in others}
    options = "".join(
        f"<option value='{name}'>{html.escape(OBJECTIVES[against].gain)}</option>" for name, against in values.items()
    )
    # Off: a browser that goes back to a page chooses again what was chosen, and shows the first chart.
    return f"<p><label>Accuracy against <select id='axis' autocomplete='off'>{options}</select></label></p>"


def places(others: Mapping[str, Any]) -> str:
    """Of the charts that are not seen at first."""
    return "".join(f"<div id='chart-{name}' hidden></div>" for name in others)
