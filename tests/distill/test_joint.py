"""Every further term of stage 2: what it asks, that it teaches, recorded as live, and broken off as unbroken."""

from dataclasses import asdict, replace

import pytest

from kdsearch.config.companions import BYOT, DML, ONE
from kdsearch.config.methods import AT, BSS, FSP, PKT, RKD, SP
from kdsearch.config.net import Net
from kdsearch.config.part import Ramp
from kdsearch.config.pipeline import KD, Data, Fit, Hints, Link, Pair, Pipeline
from kdsearch.distill import pipeline
from kdsearch.distill.checkpoint import Keeping, Paused
from kdsearch.distill.pipeline import Means
from kdsearch.distill.store import Store
from kdsearch.distill.teacher import Targets, stages_of, survey_of
from kdsearch.distill.weights import digest
from kdsearch.nets.derived import EMBEDDING, Derived
from kdsearch.nets.survey import Answer

SMALL = Net(widths=(4, 4, 6), depth=3, hidden=8, batch_norm=True, dropout=0.2)
FIT = Fit(epochs=5, learning_rate=0.01, schedule="cosine", batch_size=64)
PAIRS = (Pair(hint=1, guided=1), Pair(hint=2, guided=2), Pair(hint=3, guided=3))
WAYS: dict[str, dict] = {
    "at": {"terms": (AT(),)},
    "fsp": {"terms": (FSP(),)},
    "sp": {"terms": (SP(),)},
    "rkd": {"terms": (RKD(), RKD(form="angles"))},
    "pkt": {"terms": (PKT(),)},
    "bss": {"terms": (BSS(size=16, steps=3),), "kd": KD(weight=Ramp(start=4, end=1), labels=1, squared=False)},
    "bss recorded": {"terms": (BSS(size=16, steps=3, recorded=True),), "kd": KD(labels=1)},
    "fsp first": {"hints": Hints(pairs=PAIRS, match="flow", pooling="max", share=0.4), "kd": KD()},
    "share": {"terms": (AT(share=0.3), SP(share=0.2)), "kd": KD(share=0.25)},
    "dkd": {"kd": KD(form="dkd", labels=1, weight=Ramp(start=0, end=1, over=0.5), standardise=True)},
    "dist": {"kd": KD(form="dist", labels=1, weight=2, temperature=1)},
    "dml": {"companions": DML(peers=3), "kd": KD()},
    "one": {"companions": ONE(branches=2, split=1)},
    "byot": {"companions": BYOT(), "hints": Hints(pairs=PAIRS[:1])},
}


def chain(way: str, **more) -> Pipeline:
    student = Link(net=SMALL, fit=FIT, seed=3, **(WAYS[way] | more))
    return Pipeline(links=(Link(net=SMALL, fit=FIT), student), data=Data(images=200))


@pytest.fixture(scope="module")
def means(images, tmp_path_factory) -> Means:
    where = tmp_path_factory.mktemp("means")
    return Means(images, Store(where / "store"), Targets(where / "targets", 10**9))


def ran(chain: Pipeline, means: Means, path=None, keeping: Keeping | None = None) -> tuple[list[dict], str]:
    student = pipeline.untrained(chain, 1, means.images)
    rows = pipeline.run(chain, replace(means, keeping=keeping), student, path)
    return [asdict(row) | {"seconds": 0} for row in rows if row.link == 1], digest(student)


def asked(way: str, images) -> dict[str, list[str]]:
    """The names and sizes of answers, by stage."""
    told, survey = chain(way), survey_of(SMALL, images)
    return {
        stage.name: [Answer.of(survey, answer).name for answer in stage.asks] for stage in stages_of(told, 1, images)
    }


def test_a_term_asks_for_what_its_loss_sees_and_no_more(images):
    assert asked("at", images)["kd"] == ["attention1-4x4", "attention2-2x2", "attention3-1x1"]
    assert asked("fsp", images)["kd"] == ["flow1+2-4x4", "flow2+3-4x6"]
    assert asked("fsp first", images) == {"hint": ["maxflow1+2-4x4", "maxflow2+3-4x6"], "kd": ["logits-10"]}
    assert asked("sp", images)["kd"] == ["map3-6x1x1"]
    assert asked("rkd", images)["kd"] == asked("pkt", images)["kd"] == ["embedding-8"]
    assert asked("bss recorded", images)["kd"] == ["logits-10", "boundary3-74"]
    assert asked("bss", images)["kd"] == asked("dkd", images)["kd"] == ["logits-10"]


def test_attention_maps_of_the_papers_networks_take_a_twentieth_of_their_maps(images):
    from kdsearch.config.net import ResNet
    from kdsearch.nets import survey as nets_survey

    wide = ResNet(kind="resnet", widths=(16, 32, 64), blocks=4)
    survey = nets_survey.survey(wide, (3, 32, 32), 10)
    told = [Derived("attention", (layer,), None, lambda maps: maps.square().mean(1)) for layer in (5, 9, 13)]
    assert sum(Answer.of(survey, one).bytes for one in told) == 2688
    assert sum(Answer.of(survey, layer).bytes for layer in (5, 9, 13)) == 57344
    assert Answer.of(survey, EMBEDDING).bytes == 128


@pytest.mark.parametrize("way", WAYS)
def test_a_term_reaches_the_student_in_every_epoch_that_it_weighs_in(means, way):
    rows, _ = ran(chain(way), means)
    names = {name for row in rows for name in row["losses"]}
    assert names - {"ce", "kd"} == {
        "rkd": {"rkd-d", "rkd-a"}, "share": {"at", "sp"}, "fsp first": {"fsp"}, "bss recorded": {"bss"},
        "dkd": set(), "dist": set(),
        "dml": {"peers", "dml"}, "one": {"branches", "one"}, "byot": {"exits", "byot", "1→1"},
    }.get(way, {way})  # fmt: skip
    for row in rows:
        assert sum(row["shares"].values()) == pytest.approx(1)
        assert all(share > 0 for name, share in row["shares"].items() if name != "bss")


@pytest.mark.parametrize("way", [way for way in WAYS if way not in ("bss", "one")])
def test_recorded_and_live_answers_train_alike(means, way):
    """Halves differ from single precision by 2⁻¹¹; losses of five epochs by less than a hundredth of their own."""
    ends = []
    for choice in ("recorded", "live"):
        targets = replace(means.targets, told=dict.fromkeys(("hint", "kd"), choice))
        rows, _ = ran(chain(way), replace(means, targets=targets))
        ends.append([row["losses"] for row in rows])
    for one, other in zip(*ends, strict=True):
        assert one == pytest.approx(other, rel=0.01, abs=1e-6)


@pytest.mark.parametrize(
    "way, after",
    [
        ("at", 2),
        ("bss", 3),
        ("bss recorded", 2),
        ("fsp first", 1),
        ("fsp first", 3),
        ("share", 2),
        ("dkd", 1),
        ("dml", 2),
        ("one", 3),
        ("byot", 1),
        ("byot", 4),
    ],
)
def test_a_student_broken_off_ends_with_the_very_numbers(means, tmp_path, way, after):
    unbroken, path, ends = ran(chain(way), means), tmp_path / "kept.safetensors", iter(range(1, 99))
    with pytest.raises(Paused):
        ran(chain(way), means, path, Keeping(stopping=lambda: next(ends) >= after))
    assert ran(chain(way), means, path, Keeping()) == unbroken


def test_weights_that_change_stand_in_the_rows_and_others_do_not(means):
    assert all(row["weights"] == {} for row in ran(chain("at"), means)[0])
    rows, _ = ran(chain("bss"), means)
    assert [row["weights"]["kd"] for row in rows] == pytest.approx([3.4, 2.8, 2.2, 1.6, 1.0])
    assert [row["weights"]["bss"] for row in rows][:3] == pytest.approx([2 - 2 / 3.75 * n for n in (1, 2, 3)])
    assert "bss" in rows[2]["losses"] and "bss" not in rows[3]["losses"]  # it weighs nothing: nothing is attacked
    flat = pipeline.Row(**rows[0]).flat()
    assert flat["weight.kd"] == rows[0]["weights"]["kd"] and "weights" not in flat


def test_a_share_is_what_a_term_has_of_the_gradient(means):
    rows, _ = ran(chain("share"), means)
    assert {name: rows[0]["shares"][name] for name in ("at", "sp", "kd")} == pytest.approx(
        {"at": 0.3, "sp": 0.2, "kd": 0.25}, abs=0.01
    )
    for row in rows[1:]:
        assert row["shares"]["at"] == pytest.approx(0.3, abs=0.12)
    assert len({row["weights"]["at"] for row in rows}) == len(rows)


@pytest.mark.parametrize("term", [AT, SP])
def test_a_pair_of_weight_0_is_left_out_and_one_of_weight_2_counts_twice(means, term):
    def first(*pairs: Pair) -> float:
        return ran(chain("sp", terms=(term(pairs=pairs),)), means)[0][0]["losses"][term().name]

    def pair(layer: int, weight: float) -> Pair:
        return Pair(hint=layer, guided=layer, weight=weight)

    # Of an epoch's mean of losses: the first steps are the same to what little the others' gradients move.
    assert first(pair(2, 1), pair(1, 0)) == pytest.approx(first(pair(2, 1)), rel=1e-6)
    assert first(pair(2, 2)) > 1.2 * first(pair(2, 1))


def test_a_term_of_weight_0_leaves_the_student_as_it_is(means):
    live = replace(means, targets=replace(means.targets, told={"kd": "live"}))
    for term in (AT(weight=0), FSP(weight=0), SP(weight=0), RKD(weight=0), PKT(weight=0), BSS(weight=0)):
        with_it, without = (ran(chain("sp", terms=told, kd=KD()), live) for told in ((term,), ()))
        assert with_it[1] == without[1], term.method
