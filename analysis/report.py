"""All charts of a search on one page that needs no network."""

import html
import importlib
import json
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from kdsearch.cli.options import RESULTS, name_of
from kdsearch.errors import Refusal
from kdsearch.results import answer, cells, costs, files, front, seeds
from kdsearch.results import confirmed as results_confirmed
from kdsearch.results import tables as results_tables
from kdsearch.results.facts import Facts, read_facts
from kdsearch.results.format import listing, percent
from kdsearch.results.metric import words
from kdsearch.results.objectives import objective
from kdsearch.search import spaces
from kdsearch.storage.files import whole

from . import axes, confusion, curves, hypervolume, importances, pareto, stops

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #20262d; background: #fff }
body { margin: 2rem auto; max-width: 1180px; padding: 0 1rem }
h1 { font-size: 1.5rem; margin-bottom: 0; overflow-wrap: anywhere } h2 { font-size: 1.1rem; margin: 2rem 0 .4rem }
p { max-width: 50rem; margin: .4rem 0; overflow-wrap: anywhere } .quiet { color: #5a6570 } .warning { color: #9a5b00 }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 510px), 1fr)); gap: 0 2rem }
.wide { grid-column: 1 / -1 } .charts svg { max-width: 100%; height: auto } .charts .vega-embed { width: 100% }
.lines { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums }
td, th { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #e3e7eb }
th { color: #5a6570; font-weight: 600 } code { user-select: all; white-space: nowrap }
[hidden] { display: none !important }
"""


SHARED: dict[str, Any] = {
    "pareto": pareto, "curves": curves, "stops": stops, "hypervolume": hypervolume, "importances": importances,
    "confusion": confusion,
}  # fmt: skip
"""Charts that belong to no space."""


def charts(folder: Path) -> dict[str, Any]:
    """The charts of a search by file name: the front, the space's own answer, then those that every search has.

    Of a grid, the answer comes first, and what would say nothing is left out.
    """
    tables, facts = results_tables.read(folder), read_facts(folder)
    if not any(row["accuracy"] is not None for row in tables.trials.values()):
        raise Refusal(f"A report needs a trial that has been judged, but '{folder}' has none yet.")
    name = facts.space
    own = [name] if name in spaces.names() else []
    # Where all students are of one size, there is no front to draw.
    sized = ["pareto"] if len({front.ratio(row) for row in tables.trials.values()}) > 1 else []
    stopped = any(not row["goes_on"] for row in tables.verdicts)
    judged = ["stops"] if stopped or (sized and not facts.is_grid) else []
    counted = ["confusion"] if confusion.members(tables) else []
    order = [*sized, *own, "curves", *judged, "hypervolume", "importances", *counted]
    if facts.is_grid:
        order = [*own, *sized, "curves", *judged]
    modules = {each: SHARED.get(each) or importlib.import_module(f"kdsearch.analysis.{each}") for each in order}
    return {each: module.chart(tables, facts) for each, module in modules.items()}


def write(folder: Path, target: Path, pictures: Sequence[str] = (), results: str = RESULTS) -> list[Path]:
    """Write the page (and, beside it, each chart as a picture: png, svg); returns what was written. Raises Refusal.

    `results`: where searches are, as commands are told of it."""
    found = charts(folder)
    if target.is_dir():
        raise Refusal(f"A report is written to a file, but '{target}' is a folder; name a file in it.")
    with whole(target) as draft:
        draft.write_text(page(folder, found, name_of(folder, results)), encoding="utf-8")
    written = [target]
    for name, kind in product(found, pictures):
        written.append(target.with_name(f"{target.stem}-{name}.{kind}"))
        with whole(written[-1]) as draft:
            found[name].save(str(draft), format=kind, scale_factor=2)
    return written


def page(folder: Path, found: dict[str, Any], name: str) -> str:
    """The page as text: a view a chart, its explanation under it; a click in one is seen in all. `name`: the search's,
    as commands are told it."""
    tables, facts = results_tables.read(folder), read_facts(folder)
    others = axes.others(tables, facts) if "pareto" in found else {}
    question = spaces.names().get(facts.space, "")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>kdsearch: {html.escape(folder.name)}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><style>{STYLE}</style></head><body>
<h1>{html.escape(folder.name)}</h1><p>{html.escape(question)}</p>
<p class="quiet">{html.escape(_told(tables, facts))}</p>
{_warnings(tables)}
<p>Hover over a trial to see its knobs; click it to find it in the other charts (a double click forgets it).</p>
<div class="charts">{"".join(_section(each, chart, facts, others) for each, chart in found.items())}</div>
{_cells(tables, facts) if facts.is_grid else _front(tables, facts, name)}
{_confirmed(tables, facts)}
{_references(tables, facts)}
<h2>What it cost</h2>
{_costs(tables, facts)}
<p class="quiet">A teacher that the store had costs nothing here; stopped and failed students count with the epochs that
they had. Recording a view trains nothing.</p>
<script>{_libraries()}</script>
<script>{_embedding(found | others)}{axes.SWITCH}</script>
</body></html>
"""


def _section(name: str, chart: Any, facts: Facts, others: Mapping[str, Any]) -> str:
    """A chart's place, and how to read it; of the front those of its other axes, too."""
    title, reading = _docstring(name)
    wide = " class='wide'" if isinstance(chart, (alt.HConcatChart, alt.ConcatChart, alt.FacetChart)) else ""
    return (
        f"<section{wide}><h2>{html.escape(title)}</h2>{axes.choice(facts, others) if name == 'pareto' else ''}"
        f"<div id='chart-{name}'></div>{axes.places(others) if name == 'pareto' else ''}"
        f"<p class='quiet'>{html.escape(reading)}</p></section>"
    )


def _front(tables: results_tables.Tables, facts: Facts, name: str) -> str:
    members = [tables.trials[name] for name in front.members(tables.trials.values())]
    area, looked_at = front.reached(tables.trials.values(), facts.chance), words(facts.metric)
    commands = [f"kdsearch export {name} --trial {row['trial']}" for row in members]
    decades = f"decades of {objective(facts.against).gain} × {looked_at} above chance, under the front"
    return f"""<h2>The front: fully trained trials, {looked_at} on the validation images</h2>
{_table(members, tables, facts, commands)}
<p>Hypervolume {area:.3f}: {decades}.</p>
{"".join(f"<p>{html.escape(text)}</p>" for text in answer.sentences(tables, facts))}"""


def _cells(tables: results_tables.Tables, facts: Facts) -> str:
    """A grid's cells, and what their seeds can tell apart."""
    images = facts.validation_images
    found = cells.cells(tables, images)
    said = cells.said(found, images, facts.chance)
    return (
        f"<h2>Cells: validation {words(facts.metric)} in percent</h2>{_lines(cells.heading(found), cells.table(found))}"
        f"{''.join(f'<p>{html.escape(text)}</p>' for text in said)}"
    )


def _references(tables: results_tables.Tables, facts: Facts) -> str:
    """Nothing for a grid without references: they are cells of their own there."""
    rows = [row for row in tables.trials.values() if row["reference"] and row["state"] == "complete"]
    if not rows and facts.is_grid:
        return ""
    return f"<h2>References: one student, equal budgets</h2>{_table(rows, tables, facts)}"


def _libraries() -> str:
    """Vega, Vega-Lite and Vega-Embed, so that the page asks nobody for them."""
    version = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=version)


LINKED = """
Promise.all(Object.entries(charts).map(([name, spec]) => vegaEmbed("#chart-" + name, spec, options))).then(made => {
  const picks = view => { try { view.data("picked_store"); return true } catch { return false } };
  const views = made.map(one => one.view).filter(picks);
  let shown = "[]";
  const plain = rows => rows.map(({unit, fields, values}) => ({unit, fields, values}));
  views.forEach(view => view.addDataListener("picked_store", (name, rows) => {
    const picked = plain(rows), text = JSON.stringify(picked.map(row => row.values));
    if (text === shown) return;
    shown = text;
    views.filter(other => other !== view).forEach(other => other.data("picked_store", plain(rows)).runAsync());
  }));
});
"""
"""What is picked in one view is picked in all."""


def _embedding(found: dict[str, Any]) -> str:
    specs = {
        name: chart.configure_view(stroke="#e3e7eb").configure_axis(gridColor="#eef1f4", labelFontSize=11).to_dict()
        for name, chart in found.items()
    }
    # "</script" would end the script within a string, and "<!--<script" keep it from ending; JSON allows the escape.
    text = json.dumps(specs).replace("<", "\\u003c")
    actions = '{"editor": false, "source": false, "compiled": false}'
    return f'const charts = {text}, options = {{"mode": "vega-lite", "renderer": "svg", "actions": {actions}}};{LINKED}'


def _told(tables: results_tables.Tables, facts: Facts) -> str:
    states = [row["state"] for row in tables.trials.values()]
    counts = ", ".join(f"{states.count(state)} {state}" for state in files.STATES if state in states)
    versions = ", ".join(f"{name} {facts.versions[name]}" for name in ("kdsearch", "torch") if name in facts.versions)
    seeds_said = f"{facts.seeds} seed{'s' * (facts.seeds > 1)} a pipeline"
    read = facts.account or (
        f"data {Path(facts.data).name}, {facts.images:,} training and {facts.validation_images:,} validation images, "
        f"{facts.classes} classes"
    )
    return (
        f"{date.today().isoformat()} · {versions} · {seeds_said} · {facts.command} · {read} · "
        f"{counts} · teacher {percent(facts.teacher_accuracy)}"
    )


def _warnings(tables: results_tables.Tables) -> str:
    said = [
        f"Trial {trial}: the loss {term} had under 0.1 % of the gradient in all of stage {stage}: it is not distilling."
        for trial, stage, term in results_tables.faint(tables.epochs)
    ]
    said += [
        f"Trial {row['trial']} failed: {row['cause']}" for row in tables.trials.values() if row["state"] == "failed"
    ]
    return "".join(f'<p class="warning">{html.escape(text)}</p>' for text in said)


def _table(rows: list[dict], tables: results_tables.Tables, facts: Facts, commands: Sequence[str] = ()) -> str:
    return _lines(*listing(rows, tables, facts.validation_images), commands) if rows else "<p>None yet.</p>"


def _lines(names: Sequence[str], rows: Sequence[Sequence[str]], commands: Sequence[str] = ()) -> str:
    """`commands`: one behind each row, which a click selects."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in (*names, *["to export"] * bool(commands)))
    ends = [f"<td><code>{html.escape(command)}</code></td>" for command in commands] or [""] * len(rows)
    cells = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows)
    lines = (f"<tr>{cell}{end}</tr>" for cell, end in zip(cells, ends, strict=True))
    return f"<div class='lines'><table><tr>{head}</tr>{''.join(lines)}</table></div>"


def _confirmed(tables: results_tables.Tables, facts: Facts) -> str:
    """The front's members with other seeds, and what these say; nothing where nothing was confirmed."""
    images = facts.validation_images
    found = seeds.members(tables, images)
    if not found:
        return ""
    names = results_confirmed.columns(found)
    said = "".join(f"<p>{html.escape(text)}</p>" for text in results_confirmed.sentences(found, images))
    rows = [results_confirmed.cells(row, names) for row in found]
    return f"<h2>{results_confirmed.heading(found)}</h2>{_lines(names, rows)}{said}"


COSTS = ("", "number", "epochs", "MACs-weighted epochs", "seconds")
SPENT = {
    "students": "students drawn",
    "references": "references",
    "teachers": "teacher and assistants",
    "recording": "recorded views",
}


def _costs(tables: results_tables.Tables, facts: Facts) -> str:
    spent = costs.spent(tables, facts)
    return _lines(COSTS, [[SPENT[kind], *_cost(sums)] for kind, sums in spent.items()])


def _cost(sums: dict[str, Any]) -> list[str]:
    weighted = sums["weighted_epochs"]
    return [
        f"{sums['count']:,}", f"{sums['epochs']:,}", "–" if weighted is None else f"{weighted / 1e6:,.1f} M",
        f"{sums['seconds']:,.0f}",
    ]  # fmt: skip


def _docstring(name: str) -> tuple[str, str]:
    said = importlib.import_module(f"kdsearch.analysis.{name}").__doc__ or ""
    title, _, rest = said.partition("\n\n")
    return title, " ".join(rest.split())
