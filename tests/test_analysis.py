"""Guards of analysis/, and the report in a real browser."""

import importlib
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers import pipeline

from kdsearch import front, results, spaces
from kdsearch.config import KD

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


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> Path:
    """A search's folder as tune leaves it: 12 draws of which two were stopped, and three references."""
    folder = tmp_path_factory.mktemp("searched")
    tables = results.Tables(folder)
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
        tables.extend(name, rows if name == "3" else [{**row, "gradient.kd": 0.4} for row in rows], student=1)
        tables.mark(name, "stopped" if name in ("4", "5") else "complete", "too late" if name in ("4", "5") else None)
    tables.write(at_once=True)
    facts = {
        "space": "depth_vs_hint",
        "command": "kdsearch tune <b>",
        "data": "digits",
        "images": 9,
        "validation_images": 1,
    }
    more = {"classes": 10, "teacher_accuracy": 0.9, "teacher_parameters": 5000, "knobs": RANGES}
    results.write_facts(folder, facts | more | {"trials": 12, "seed": 0, "fingerprint": "f"})
    return folder


@pytest.mark.parametrize("name", sorted(spaces.names()))
def test_every_space_has_an_answer_that_asks_the_same_question(name, searched):
    module = analysis(name)
    assert (module.__doc__ or "").splitlines()[0] == spaces.question(spaces.find(name))
    module.chart(results.read(searched), results.read_facts(searched)).to_dict()


@pytest.mark.parametrize("name", ["pareto", "curves", "importances"])
def test_a_chart_says_how_to_read_it_and_can_be_drawn(name, searched):
    module = analysis(name)
    title, _, rest = (module.__doc__ or "").partition("\n\n")
    assert title.endswith("?") and len(rest) > 100
    module.chart(results.read(searched), results.read_facts(searched)).to_dict()


def test_importances_are_shares_with_an_interval(searched):
    frame = analysis("importances").importances(results.read(searched), results.read_facts(searched))
    assert list(frame["knob"]) == list(RANGES)
    assert (frame["low"] <= frame["median"]).all() and (frame["median"] <= frame["high"]).all()
    assert frame["high"].max() > 0.1 and frame["high"].max() <= 1


def test_too_few_trials_have_no_importances(searched, tmp_path):
    assert analysis("importances").importances(results.Tables(tmp_path), results.read_facts(searched)).empty


def test_the_report_escapes_what_it_is_told_and_asks_for_nothing(searched, tmp_path):
    analysis("report").write(searched, tmp_path / "r.html", png=False)
    text = (tmp_path / "r.html").read_text()
    assert "kdsearch tune &lt;b&gt;" in text and "trial 3" in text.lower() and "not distilling" in text
    assert "<script src" not in text and '<link rel="stylesheet"' not in text


def test_the_front_s_members_are_in_the_report_s_table(searched, tmp_path):
    analysis("report").write(searched, tmp_path / "r.html", png=False)
    table = (tmp_path / "r.html").read_text().partition("<h2>The front")[2].partition("</table>")[0]
    members = front.members(results.read(searched).trials.values())
    assert members and [line.split("<td>")[1].split("<")[0] for line in table.split("<tr>")[2:]] == members


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


def test_in_a_browser_no_request_leaves_no_error_shows_and_a_click_is_seen_in_every_chart(searched, tmp_path, browser):
    analysis("report").write(searched, tmp_path / "r.html", png=False)
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
    page.locator("path[aria-label*='trial: 7;']").first.click()
    page.wait_for_function("document.querySelectorAll(\"[stroke='#d1495b'][opacity='1']\").length >= 4")
    assert len(highlighted(page)) == 4  # front, curves, trials by depth and hint, heatmap
    page.close()


def highlighted(page: Any) -> set[str]:
    """The mark groups in which something has the colour of a clicked trial and can be seen."""
    code = """[...document.querySelectorAll("svg.marks [stroke='#d1495b']")]
        .filter(mark => mark.getAttribute('opacity') !== '0').map(mark => mark.parentElement.getAttribute('class'))"""
    return set(page.evaluate(code))
