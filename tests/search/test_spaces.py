"""Spaces: found, loaded, drawn from; a user's mistakes told in a sentence."""

import json
import textwrap

import pytest
from driver import planned

from kdsearch.config.net import Net
from kdsearch.config.pipeline import Pipeline
from kdsearch.errors import Refusal
from kdsearch.search import drawing, spaces
from kdsearch.search.references import references
from kdsearch.search.settings import Settings

GOOD = """
    '''Does it work?'''
    from kdsearch.config import *
    BUDGET = Budget(trials=2, epochs=2, teacher_epochs=1)
    REFERENCE = Net(widths=(2, 2), depth=2, hidden=4)
    def space(trial):
        width = trial.suggest_float("width", 0.5, 2)
        return Pipeline(links=(Link(net=REFERENCE), Link(net=Net(widths=(2, 2), depth=2, width=width), kd=KD())))
"""


@pytest.fixture
def written(tmp_path):
    def write(text: str):
        path = tmp_path / f"space{len(list(tmp_path.iterdir()))}.py"
        path.write_text(textwrap.dedent(text))
        return path

    return write


def test_a_user_s_own_file_works_by_path(written):
    space = spaces.load(spaces.find(str(written(GOOD))))
    drawn = drawing.draws(space, Settings(2, 1), 3, seed=0)
    assert len({draw.knobs["width"] for draw in drawn}) == 3
    assert all(draw.pipeline.student.fit.epochs == 2 for draw in drawn)


def test_draws_are_the_seed_s():
    space = spaces.load(spaces.find("depth_vs_hint"))
    one, two, three = ([d.knobs for d in drawing.draws(space, Settings(2, 1), 5, seed)] for seed in (0, 0, 1))
    assert one == two != three


def test_an_unknown_space_is_refused_with_the_nearest():
    with pytest.raises(Refusal, match="Did you mean 'depth_vs_hint'"):
        spaces.find("depth_vs_hnt")
    with pytest.raises(Refusal, match="no file"):
        spaces.find("./nothing.py")


@pytest.mark.parametrize(
    "text, said",
    [
        ("def space(:", "SyntaxError.*line 1"),
        ("import nothing_of_that_name", "ModuleNotFoundError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("x = 1", "lacks BUDGET, REFERENCE, space"),
        (GOOD.replace("REFERENCE = ", "reference = REFERENCE_ = "), "lacks REFERENCE"),
        (GOOD.replace("trials=2", "trials=0"), "BUDGET|trials"),
        (GOOD + "\n    FULL_BUDGET = 3", "FULL_BUDGET"),
    ],
)
def test_a_malformed_space_file_is_refused(written, text, said):
    with pytest.raises(Refusal, match=said):
        spaces.load(written(text))


@pytest.mark.parametrize(
    "text, said",
    [
        (GOOD.replace("return Pipeline", "return str"), "failed at a draw|must return a Pipeline"),
        (GOOD.replace("return Pipeline", "1 / 0; return Pipeline"), "failed at a draw: ZeroDivisionError"),
        (GOOD.replace("return Pipeline", "raise SystemExit(3); return Pipeline"), "failed at a draw: SystemExit"),
        (GOOD.replace("Link(net=REFERENCE), ", "").replace(", kd=KD())))", "),))"), "needs a teacher and a student"),
        (GOOD.replace("width=width", "depht=width"), "failed at a draw.*depht"),
    ],
)
def test_a_space_that_fails_at_a_draw_is_refused(written, text, said):
    with pytest.raises(Refusal, match=said):
        drawing.draws(spaces.load(written(text)), Settings(2, 1), 1, seed=0)


def test_an_override_of_what_the_space_draws_is_refused(written):
    space = spaces.load(written(GOOD))
    drawing.check_overrides(space, Settings(2, 1, overrides=(("student.fit.batch_size", "3"),)))
    for path, said in (
        ("student.net.width", "draws student.net.width itself"),
        ("student.hints.share", "changes nothing"),
    ):
        with pytest.raises(Refusal, match=said):
            drawing.check_overrides(space, Settings(2, 1, overrides=((path, "1"),)))


def test_references_differ_in_their_losses_alone_and_have_equal_budgets():
    space = spaces.load(spaces.find("depth_vs_hint"))
    drawn = drawing.draws(space, Settings(12, 9), 3, seed=0)
    found = references(space, drawn, Settings(12, 9))
    assert list(found) == ["labels", "kd", "hint+kd"]
    told = [(bool(pipeline.student.hints), bool(pipeline.student.kd)) for pipeline in found.values()]
    assert told == [(False, False), (False, True), (True, True)]
    assert len({(p.links[0], p.student.net, p.student.fit) for p in found.values()}) == 1
    assert found["labels"].student.fit.epochs == 12


def test_a_proposal_is_plain_data_that_a_worker_can_read(written):
    class Trial:
        def suggest_float(self, *_: object) -> float:
            return 1.0

    plain = drawing.propose(Trial(), spaces.load(written(GOOD)), Settings(2, 1))
    net = Pipeline.model_validate(json.loads(json.dumps(plain))["pipeline"]).student.net
    assert isinstance(net, Net) and net.width == 1.0


def test_a_budget_of_one_epoch_is_refused_since_a_reference_has_two_stages(written):
    space = spaces.load(spaces.find(str(written(GOOD))))
    drawn = drawing.draws(space, Settings(1, 1), 3, seed=0)
    with pytest.raises(Refusal, match="1 in all; give them --epochs 2 or more"):
        references(space, drawn, Settings(1, 1))


MISSPELT = """
'''What?'''
from kdsearch.config import *

BUDGET = Budget(trials=2, epochs=2, teacher_epochs=1)
REFERENCE = None
TEACHER = Net(widths=(4, 4), depth=2, hidden=8)


def space(trial):
    return Pipeline(links=(Link(net=TEACHER), Link(net=TEACHER, kd=KD(temperatur=3.0))))
"""


@pytest.mark.parametrize(
    "wrong, said",
    [
        ("kd=KD(temperatur=3.0)", r"KD: There is no key 'temperatur'.*Did you mean 'temperature'\?.*\(line 11\)"),
        ("fit=Fit(epoch=3)", r"Fit: There is no key 'epoch'.*Did you mean 'epochs'\?.*\(line 11\)"),
        ("kd=KD(weight=7)", r"KD: .*weight is at most 1 .*but got weight=7\. \(line 11\)"),
    ],
)
def test_what_is_wrong_in_a_space_is_told_of_its_own_part_with_the_line(tmp_path, wrong, said):
    (tmp_path / "s.py").write_text(MISSPELT.replace("kd=KD(temperatur=3.0)", wrong))
    with pytest.raises(Refusal, match=said):
        planned(tmp_path / "s.py", results=str(tmp_path / "r"))


@pytest.mark.parametrize(
    "options, said",
    [
        ({"overrides": ("student.fit.batch_size=abc",)}, "batch_size"),
        ({"epochs": 1}, "epochs"),
    ],
)
def test_what_is_asked_for_wrongly_is_not_blamed_on_published(tmp_path, options, said):
    with pytest.raises(Refusal, match=said) as raised:
        planned(spaces.find("depth_vs_hint"), results=str(tmp_path / "r"), **options)
    assert "PUBLISHED" not in str(raised.value)
