"""The words for ways to teach: old configs and keys as they were, weights that change, and what cannot be said."""

import hashlib

import pytest
from pydantic import ValidationError

from kdsearch.config.methods import AT, BSS, FSP, PKT, RKD, SP, OwnTerm
from kdsearch.config.net import Eye, Net, Own, ResNet
from kdsearch.config.parse import parse
from kdsearch.config.part import Ramp
from kdsearch.config.pipeline import KD, Data, Fit, Hints, Link, Pair, Pipeline
from kdsearch.distill.store import key_of
from kdsearch.errors import Refusal

TEACHER, STUDENT = Net(widths=(8, 8, 8), depth=3, hidden=16), Net(widths=(4, 4, 4), depth=6, hidden=8)
FIT = Fit(epochs=4, batch_size=64, learning_rate=5e-3)
OWN = Own(
    kind="own", factory="/there/my_nets.py:student", arguments=(("width", 4),), taps=("a", "b.1"), eye=Eye(size=32),
    source="a" * 16, head="fc",
)  # fmt: skip
HINTS = Hints(pairs=(Pair(hint=2, guided=4), Pair(hint=1, guided=2, weight=0.5)), share=0.25, regressor="conv1x1")
QUIRKS = Hints(pairs=(Pair(hint=2, guided=4),), scope="all_conv", ce_weight=0.75)


def taught(**link: object) -> Pipeline:
    student = Link.model_validate({"net": STUDENT, "fit": FIT, **link})
    return Pipeline(links=(Link(net=TEACHER, fit=FIT), student))


OLD = {
    "labels": taught(),
    "kd": taught(kd=KD()),
    "virtual": taught(kd=KD(weight=0.3, temperature=20, virtual=0.9)),
    "hints": taught(hints=HINTS, kd=KD(weight=1)),
    "quirks": taught(hints=QUIRKS, kd=KD(weight=0.25, temperature=2)),
    "resnet": Pipeline(
        links=(
            Link(net=ResNet(kind="resnet"), fit=FIT), Link(net=STUDENT, fit=FIT, kd=KD()),
            Link(net=OWN, fit=FIT, hints=HINTS, kd=KD(), seed=3),
        ),
        data=Data(images=200, augment="flip"),
    ),
}  # fmt: skip
KNOWN = {
    "labels": ("463cf2d2013880e2", "1c787901034db6b6"),
    "kd": ("1c49257f7772939a", "f75e84bff5322494"),
    "virtual": ("d70efc9a060b0f1b", "321f3c4e6a074129"),
    "hints": ("7f192e48e37f8556", "dba87b98ce98e6f0"),
    "quirks": ("cad7996b7201e523", "ffd8b0fd182bb8b1"),
    "resnet": ("73205275ca22fbdb", "7085496e23707b8c"),
}
"""Hashes of what was written, and keys in the store, before there were further terms."""

ALL = taught(
    hints=Hints(pairs=(Pair(hint=1, guided=1), Pair(hint=2, guided=4)), match="flow", pooling="max"),
    kd=KD(form="dkd", beta=2, standardise=True, squared=False, labels=1, weight=Ramp(start=4, end=1)),
    terms=(
        AT(pairs=(Pair(hint=1, guided=2),)), FSP(share=0.2), SP(), RKD(), RKD(form="angles"), PKT(), BSS(),
        OwnTerm(term="my_terms.py:cosine"),
    ),
)  # fmt: skip


@pytest.mark.parametrize("name", OLD)
def test_pipelines_without_the_new_words_are_written_and_known_as_before(name):
    told = OLD[name]
    written = hashlib.sha256(told.model_dump_json().encode()).hexdigest()[:16]
    assert (written, key_of(told, len(told.links) - 1, "f" * 16)) == KNOWN[name]


def test_every_word_is_read_again_as_it_was_written():
    assert Pipeline.model_validate_json(ALL.model_dump_json()) == ALL
    assert parse(Pipeline, ALL.model_dump(mode="json"), "config.yaml") == ALL


def test_a_way_to_teach_makes_another_key():
    told = [taught(), *(taught(terms=(one,)) for one in (AT(), AT(weight=10), AT(share=0.5), SP(), RKD(form="angles")))]
    told += [taught(kd=KD()), *(taught(kd=KD(form=form)) for form in ("dkd", "dist")), taught(kd=KD(squared=False))]
    assert len({key_of(one, 1, "f") for one in told}) == len(told)


def test_terms_have_their_published_weights():
    weights = [one.weight for one in (AT(), FSP(), SP(), RKD(), RKD(form="angles"), PKT())]
    assert weights == [1000, 50, 3000, 25, 50, 30000] and RKD(form="angles", weight=7).weight == 7
    assert BSS().weight == Ramp(start=2, end=0, over=0.75)


@pytest.mark.parametrize("shape", ["linear", "sigmoid"])
@pytest.mark.parametrize("start, end", [(4, 1), (0, 1)])
def test_a_ramp_goes_one_way_arrives_in_time_and_stays(shape, start, end):
    ramp = Ramp(start=start, end=end, over=0.5, shape=shape)
    found = [ramp.at(epoch, 40) for epoch in range(41)]
    assert found[20:] == [end] * 21
    assert sorted(found, reverse=start > end) == found and len(set(found)) == 21
    assert found[0] == pytest.approx(start + (end - start) * (0 if shape == "linear" else 0.0067379), rel=1e-4)


def test_the_labels_have_what_a_ramp_leaves():
    kd = KD(weight=Ramp(start=0.9, end=0.1, over=0.5))
    assert isinstance(kd.weight, Ramp) and isinstance(kd.labels_weight, Ramp)
    for epoch in range(1, 11):
        assert kd.weight.at(epoch, 10) + kd.labels_weight.at(epoch, 10) == pytest.approx(1)
    assert KD(weight=0.3).labels_weight == 0.7 and KD(weight=9, labels=1).labels_weight == 1
    assert KD(share=0.5).labels_weight == 1 and f"{kd.weight:.2f}" == "0.90–0.10"


@pytest.mark.parametrize(
    "link, said",
    [
        ({"kd": {"weight": 9}}, "weight is at most 1 unless their own weight is told .labels: 1., but got weight=9"),
        ({"kd": {"weight": {"start": 4, "end": 1}}}, "but got weight=4"),
        ({"kd": {"beta": 2}}, "beta belongs to form dkd, but got beta=2 for kl"),
        ({"kd": {"form": "dkd", "within": 2}}, "within belongs to form dist"),
        ({"terms": [{"method": "at"}, {"method": "at"}]}, "once, but terms has at twice"),
        ({"terms": [{"method": "own", "term": "a.py:ce"}]}, "once, but terms has ce twice"),
        ({"terms": [{"method": "at", "share": 0.5}, {"method": "sp", "share": 0.5}]}, "add up to 1"),
        ({"kd": {"weight": 0, "labels": 0}, "terms": [{"method": "at", "share": 0.5}]}, "all others have weight 0"),
        ({"terms": [{"method": "fsp", "pairs": ["1>1"]}]}, "there is only 1→1"),
        ({"terms": [{"method": "at", "pairs": ["1>1", "1>1"]}]}, "each pair may be given once"),
        ({"hints": {"pairs": ["1>1"], "match": "flow"}}, "there is only 1→1"),
        ({"terms": [{"method": "atention"}]}, "no method 'atention'; there is at, bss"),
        ({"terms": [{"method": "at", "wieght": 3}]}, "Did you mean 'weight'"),
        ({"terms": [{"method": "at", "weight": {"start": 1, "end": 3, "to": 3}}]}, "no key 'to'"),
        ({"terms": [{"method": "at", "weight": -1}]}, "terms.0.weight: input should be greater than or equal to 0"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(link, said):
    plain = {"links": [{"net": {}}, {"net": {}, **link}]}
    with pytest.raises(Refusal, match=said):
        parse(Pipeline, plain, "config.yaml")


def test_the_first_link_has_nobody_to_compare_itself_with():
    with pytest.raises(ValidationError, match="its hints, kd and terms must be left out"):
        Pipeline(links=(Link(net=TEACHER, fit=FIT, terms=(AT(),)),))
