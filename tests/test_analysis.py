"""Guards of analysis/, and the report in a real browser."""

import importlib
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers import FACTS, pipeline

from kdsearch.config.pipeline import KD
from kdsearch.results import costs as results_costs
from kdsearch.results import files, front
from kdsearch.results import tables as results_tables
from kdsearch.results.facts import read_facts, write_facts
from kdsearch.search import spaces

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
RANGES = {
    "depth": '{"name": "IntDistribution", "attributes": {"low": 3, "high": 12, "step": 3, "log": false}}',
    "tau": '{"name": "FloatDistribution", "attributes": {"low": 1.0, "high": 20.0, "step": null, "log": true}}',
}


def analysis(name: str) -> Any:
    return importlib.import_module(f"kdsearch.analysis.{name}")


def verdict(trial: str, accuracy: float | None, parameters: int, goes_on: bool, milestone: int = 1) -> dict:
    own = {"trial": trial, "milestone": milestone, "accuracy": accuracy, "parameters": parameters, "goes_on": goes_on}
    return own | {
        "recorded": 9, "better": 2, "front": 0, "rank": 1, "stratum": int(parameters > 900), "stratum_recorded": 5,
        "stratum_better": 1, "cutoff": parameters / 10_000,
    }  # fmt: skip


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> Path:
    return written(tmp_path_factory.mktemp("searched"))


def written(folder: Path) -> Path:
    """A search's folder as tune leaves it: 12 draws of which two were stopped after an epoch, and three references."""
    tables = results_tables.Tables(folder)
    references = {"labels": None, "kd": KD(), "hint+kd": KD()}
    for place, name in enumerate([*references, *map(str, range(12))]):
        plain = pipeline(kd=references.get(name, KD(temperature=1.0 + place))).model_dump(mode="json")
        facts = {"parameters": 100 * (place + 1), "compression": 50 / (place + 1), "training_parameters": 9, "macs": 9}
        tau = 1.0 + place
        knobs = (
            {}
            if name in references
            else {"depth": 3 * (1 + place % 4), "tau": tau, "assistant": "none", "fraction": 1.0}
        )
        tables.add(name, plain, facts | {"reference": name if name in references else None}, knobs)
        accuracies = [0.3 + 0.02 * place, 0.5 + 0.03 * place]
        rows = [
            {"link": 1, "stage": "kd", "epoch": e, "kd_epoch": e, "accuracy": a, "seconds": 1.0, "gradient.kd": 0.0002}
            for e, a in enumerate(accuracies, start=1)
        ]
        stopped = name in ("4", "5")
        rows = rows[:1] if stopped else rows
        tables.extend(name, rows if name == "3" else [{**row, "gradient.kd": 0.4} for row in rows], student=1)
        if name not in references:
            tables.verdicts.append(verdict(name, accuracies[0], facts["parameters"], not stopped))
        tables.mark(name, "stopped" if stopped else "complete", "too late" if stopped else None)
    tables.write(at_once=True)
    told = {"space": "depth_vs_hint", "command": "kdsearch tune <b>", "trials": 12, "knobs": RANGES, "rule": "union"}
    write_facts(folder, FACTS | told | {"teacher_accuracy": 0.9, "teacher_parameters": 5000})
    return folder


@pytest.mark.parametrize("name", sorted(spaces.names()))
def test_every_space_has_an_answer_that_asks_the_same_question(name, searched):
    module = analysis(name)
    assert (module.__doc__ or "").splitlines()[0] == spaces.question(spaces.find(name))
    module.chart(results_tables.read(searched), read_facts(searched)).to_dict()


@pytest.mark.parametrize("name", ["pareto", "curves", "stops", "hypervolume", "importances"])
def test_a_chart_says_how_to_read_it_and_can_be_drawn(name, searched):
    module = analysis(name)
    title, _, rest = (module.__doc__ or "").partition("\n\n")
    assert title.endswith("?") and len(rest) > 100
    module.chart(results_tables.read(searched), read_facts(searched)).to_dict()


def test_importances_are_shares_with_an_interval(searched):
    frame = analysis("importances").importances(results_tables.read(searched), read_facts(searched))
    assert list(frame["knob"]) == list(RANGES)
    assert (frame["low"] <= frame["median"]).all() and (frame["median"] <= frame["high"]).all()
    assert frame["high"].max() > 0.1 and frame["high"].max() <= 1


def test_too_few_trials_have_no_importances(searched, tmp_path):
    assert analysis("importances").importances(results_tables.Tables(tmp_path), read_facts(searched)).empty


def test_a_knob_that_only_decides_who_is_stopped_is_important_for_reaching_the_front(searched, tmp_path):
    tables = results_tables.Tables(tmp_path)
    for place in range(24):
        stopped, tau = place % 2 == 0, (1.0, 5.0, 10.0, 20.0)[place // 2 % 4]
        # All that was fully trained is on the front. Of what was stopped, τ = 20 stood best, but got no further.
        early = (0.99, 99.0) if tau == 20 else (0.1, 1.0)
        accuracy, compression = early if stopped else (0.5 + place / 100, 50.0 - place)
        tables.trials[str(place)] = {
            "trial": str(place), "reference": None, "state": "stopped" if stopped else "complete",
            "accuracy": accuracy, "compression": compression, "knob.depth": 3 if stopped else 12, "knob.tau": tau,
        }  # fmt: skip
    importances, facts = analysis("importances").importances, read_facts(searched)
    assert importances(tables, facts).set_index("knob")["median"]["depth"] > 0.8
    for row in tables.trials.values():
        row["state"] = "stopped"
    assert importances(tables, facts).empty  # nobody reached it


def test_a_knob_that_all_trials_share_but_those_of_the_front_is_important(searched, tmp_path):
    tables = results_tables.Tables(tmp_path)
    for place in range(24):
        best = place in (3, 8, 13, 18, 23)
        tables.trials[str(place)] = {
            "trial": str(place), "reference": None, "state": "complete",
            "accuracy": 0.9 - place / 100 - 0.5 * (not best), "compression": 10.0 + place - 9 * (not best),
            "knob.depth": 12 if best else 3, "knob.tau": 1.0 + place % 4,
        }  # fmt: skip
    shares = analysis("importances").importances(tables, read_facts(searched)).set_index("knob")["median"]
    assert shares["depth"] > 0.8


def rows_of(chart: dict, layer: dict) -> list[dict]:
    """The data that a layer of a chart shows."""
    return chart["datasets"][layer["data"]["name"]]


def test_the_hypervolume_is_drawn_over_each_cost_as_the_ledger_has_it(searched):
    tables, facts = results_tables.read(searched), read_facts(searched)
    whole = analysis("hypervolume").chart(tables, facts).to_dict()
    costs = [panel["layer"][0]["encoding"]["x"]["field"] for panel in whole["concat"]]
    assert costs == list(results_costs.COSTS)
    grown = results_costs.growth(tables, facts)
    for panel in whole["concat"]:
        line, _, dots = panel["layer"]
        names = ("trial", "hypervolume", *results_costs.COSTS)
        assert [[row[n] for n in names] for row in rows_of(whole, dots)] == [[row[n] for n in names] for row in grown]
        assert line["mark"]["interpolate"] == "step-after"


def test_the_line_of_the_hypervolume_goes_on_to_what_has_been_spent_since_it_last_grew(searched):
    tables, facts = results_tables.read(searched), read_facts(searched)
    for name in ("10", "11"):
        tables.trials[name]["state"] = "running"
    whole = analysis("hypervolume").chart(tables, facts).to_dict()
    line = rows_of(whole, whole["concat"][0]["layer"][0])
    assert [row["epochs"] for row in line][-2:] == [18, 22]
    assert line[-1]["hypervolume"] == line[-2]["hypervolume"]


def test_what_a_completed_trial_added_to_the_hypervolume_adds_up(searched):
    steps = analysis("hypervolume").frame(results_tables.read(searched), read_facts(searched))
    assert len(steps) == 10 and (steps["added"] >= 0).all()
    assert steps["added"].sum() == pytest.approx(steps["hypervolume"].iloc[-1])


def test_each_milestone_shows_who_was_stopped_and_rings_the_front(searched):
    tables, facts = results_tables.read(searched), read_facts(searched)
    tables.verdicts += [verdict("6", 0.8, 1000, True, 3), verdict("7", None, 1100, False, 3)]
    for name, row in tables.trials.items():
        row["front"] = name in ("0", "6")
    whole = analysis("stops").chart(tables, facts).to_dict()
    titles = [panel["title"] for panel in whole["concat"]]
    assert titles == ["KD epoch 1: 2 of 12 stopped", "KD epoch 3: 1 of 2 stopped"]
    first, later = ([rows_of(whole, layer) for layer in panel["layer"]] for panel in whole["concat"])
    assert {row["trial"] for row in first[-1] if row["outcome"] == "stopped"} == {"4", "5"}
    assert [row["trial"] for row in first[2]] == ["0", "6"] and [row["trial"] for row in later[2]] == ["6"]
    dot = next(row for row in first[-1] if row["trial"] == "4")
    assert (dot["accuracy"], dot["parameters"], dot["behind"]) == (pytest.approx(0.44), 800, "2 of 9")


def test_a_size_s_line_is_its_last_cut_off_over_the_sizes_that_were_judged(searched):
    tables = results_tables.read(searched)
    stops = analysis("stops")
    small, large = stops.cutoffs(stops.frame(tables)).to_dict("records")
    assert (small["stratum"], small["cutoff"], large["cutoff"]) == (0, 0.09, 0.15)
    assert small["low"] < 400 < 900 < small["high"] < large["low"] * 1.3 and large["high"] > 1500


@pytest.mark.parametrize("rule, lines", [("union", 2), ("strata", 2), ("asha", 0), ("moasha", 0), ("none", 0)])
def test_the_sizes_lines_are_drawn_for_the_rules_that_read_them(searched, rule, lines):
    tables, facts = results_tables.read(searched), read_facts(searched).model_copy(update={"rule": rule})
    whole = analysis("stops").chart(tables, facts).to_dict()
    assert len(rows_of(whole, whole["concat"][0]["layer"][0])) == lines


def test_where_there_is_nothing_to_show_a_sentence_says_so(searched, tmp_path):
    facts, nothing = read_facts(searched), results_tables.Tables(tmp_path)
    said = {name: analysis(name).chart(nothing, facts).to_dict() for name in ("stops", "hypervolume", "importances")}
    texts = {name: [row["text"] for row in rows_of(chart, chart)] for name, chart in said.items()}
    assert texts == {
        "stops": ["No trial was judged before its end."],
        "hypervolume": ["A hypervolume needs a fully trained trial."],
        "importances": ["Importances need a front, and 8 trials that have ended."],
    }


def test_a_search_that_runs_and_has_completed_nothing_has_a_report(searched, tmp_path):
    tables = results_tables.read(searched)
    tables.folder = tmp_path
    for row in tables.trials.values():
        row |= {"state": "running", "front": False}
    tables.verdicts = tables.verdicts[:1]
    tables.write(at_once=True)
    shutil.copy(searched / "search.json", tmp_path)
    analysis("report").write(tmp_path, tmp_path / "r.html", ["png"])
    text = (tmp_path / "r.html").read_text()
    assert "KD epoch 1: 0 of 1 stopped" in text and "A hypervolume needs a fully trained trial." in text
    assert (tmp_path / "r-stops.png").stat().st_size and (tmp_path / "r-hypervolume.png").stat().st_size


def test_the_report_tells_what_was_read(searched, tmp_path):
    shutil.copytree(searched, tmp_path / "s")
    told = "photos: 9 images of 2 classes; passed over: 3 *.heic"
    write_facts(tmp_path / "s", read_facts(tmp_path / "s").plain() | {"account": told})
    analysis("report").write(tmp_path / "s", tmp_path / "r.html")
    assert told in (tmp_path / "r.html").read_text()


def test_the_report_tells_what_the_search_cost(searched, tmp_path):
    folder = tmp_path / "cost"
    shutil.copytree(searched, folder)
    tables = results_tables.read(folder)
    taught = {"link": 0, "stage": "labels", "kd_epoch": None, "accuracy": 0.9, "seconds": 1_000.0}
    tables.extend("teacher", [taught | {"epoch": 1}, taught | {"epoch": 2}], student=-1)
    for row in tables.trials.values():
        row["macs"] = 2_000_000
    tables.write(at_once=True)
    analysis("report").write(folder, tmp_path / "r.html")
    table = (tmp_path / "r.html").read_text().partition("<h2>What it cost")[2].partition("</table>")[0]
    lines = [[cell.split("<")[0] for cell in line.split("<td>")[1:]] for line in table.split("<tr>")[2:]]
    assert lines == [
        ["students drawn", "12", "22", "44.0 M", "22"],
        ["references", "3", "6", "12.0 M", "6"],
        ["teacher and assistants", "1", "2", "–", "2,000"],
        ["recorded views", "0", "0", "0.0 M", "0"],
    ]


def test_the_report_escapes_what_it_is_told_and_asks_for_nothing(searched, tmp_path):
    analysis("report").write(searched, tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    assert "kdsearch tune &lt;b&gt;" in text and "trial 3" in text.lower() and "not distilling" in text
    assert "<script src" not in text and '<link rel="stylesheet"' not in text


def test_the_front_s_members_are_in_the_report_s_table(searched, tmp_path):
    analysis("report").write(searched, tmp_path / "r.html")
    table = (tmp_path / "r.html").read_text().partition("<h2>The front")[2].partition("</table>")[0]
    members = front.members(results_tables.read(searched).trials.values())
    assert members and [line.split("<td>")[1].split("<")[0] for line in table.split("<tr>")[2:]] == members


def test_a_confirmed_front_shows_its_intervals_in_the_chart_and_its_sentences_on_the_page(searched, tmp_path):
    folder = tmp_path / "confirmed"
    shutil.copytree(searched, folder)
    analysis("report").write(folder, tmp_path / "r.html")
    assert "Confirmed:" not in (tmp_path / "r.html").read_text()
    name = front.members(results_tables.read(folder).trials.values())[0]
    seeds = [{"trial": name, "seed": s, "selected": False, "accuracy": a} for s, a in ((1, 0.5), (2, 0.51), (3, 0.52))]
    files.write_table(folder / "confirmed.parquet", seeds, files.CONFIRMED)
    analysis("report").write(folder, tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    assert "<h2>Confirmed: 3 seeds" in text and "Selection cost" in text
    assert "<td>51.0 ± " in text and "<td>3</td><td><code>kdsearch export " in text  # the mean of its new seeds
    (rule,) = [
        layer
        for layer in analysis("pareto").chart(results_tables.read(folder), read_facts(folder)).to_dict()["layer"]
        if layer["mark"]["type"] == "rule"
    ]
    assert rule["encoding"]["y"]["field"] == "low" and rule["encoding"]["y2"]["field"] == "high"


@pytest.fixture(scope="module")
def browser():
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found:
        pytest.skip(f"no Chromium on this machine ({', '.join(BROWSERS)})")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=QUIET)
        yield browser
        browser.close()


@pytest.mark.whole
def test_in_a_browser_no_request_leaves_no_error_shows_and_a_click_is_seen_in_every_chart(searched, tmp_path, browser):
    analysis("report").write(searched, tmp_path / "r.html")
    page = browser.new_page(viewport={"width": 1300, "height": 1600})
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append((message.type, message.text)))
    page.on("pageerror", lambda error: said.append(("error", str(error))))
    page.goto((tmp_path / "r.html").as_uri())
    page.wait_for_selector("svg.marks")
    assert asked == [(tmp_path / "r.html").as_uri()]
    assert [text for kind, text in said if kind == "error"] == []
    assert highlighted(page) == set()
    for own in ("compression:", "its size had to reach:", "completed by then:"):  # front, milestone, hypervolume
        page.locator(f"path[aria-label*='trial: 7;'][aria-label*='{own}']").first.click()
        page.wait_for_function("document.querySelectorAll(\"[stroke='#c026d3'][opacity='1']\").length >= 8")
        # Front, curves, trials by depth and hint, heatmap, one milestone, hypervolume over three costs.
        assert len(highlighted(page)) == 8
        page.locator(f"path[aria-label*='trial: 7;'][aria-label*='{own}']").first.dblclick()
        page.wait_for_function("!document.querySelector(\"[stroke='#c026d3'][opacity='1']\")")
    page.close()


def highlighted(page: Any) -> set[str]:
    """The mark groups in which something has the colour of a clicked trial and can be seen."""
    code = """[...document.querySelectorAll("svg.marks [stroke='#c026d3']")]
        .filter(mark => mark.getAttribute('opacity') !== '0')
        .map(mark => mark.closest('section > div').id + ' ' + mark.parentElement.getAttribute('class'))"""
    return set(page.evaluate(code))
