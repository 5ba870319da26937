"""A loss in a user's own file: what it says of itself, what it is given, how it is known, what is refused."""

from dataclasses import asdict
from pathlib import Path

import pytest

from kdsearch.config.methods import PKT, OwnTerm
from kdsearch.config.net import Net
from kdsearch.config.part import Ramp
from kdsearch.config.pipeline import Data, Fit, Link, Pipeline
from kdsearch.distill import pipeline
from kdsearch.distill.checkpoint import Keeping, Paused
from kdsearch.distill.pipeline import Means
from kdsearch.distill.store import Store, key_of
from kdsearch.distill.teacher import Targets, stages_of
from kdsearch.distill.weights import digest
from kdsearch.errors import Refusal
from kdsearch.nets import own_term, pairs
from kdsearch.nets.settle import settled

SMALL = Net(widths=(4, 4), depth=4, hidden=8, dropout=0.2)
FIT = Fit(epochs=3, learning_rate=0.01, batch_size=64)
FILE = '''
from torch.nn import functional as F

from kdsearch.distill import relation


def cosine(ours, theirs):
    """One less the cosine of both embeddings."""
    return 1 - F.cosine_similarity(ours["embedding"], theirs["embedding"]).mean()


cosine.reads = cosine.asks = "embedding"
cosine.weight = 10


def again(ours, theirs, labels):
    assert len(labels) == len(ours["map 1/2"]) and ours["map 1/2"].dtype == theirs["logits"].dtype
    return relation.probabilities(ours["embedding"], theirs["embedding"])


again.reads, again.asks, again.weight = ("embedding", "map 1/2", "map 2", "map"), ("embedding", "logits"), 30000


def silent(ours, theirs):
    return 0


def rows(ours, theirs):
    return ours["logits"].sum(1)


def broken(ours, theirs):
    return ours["lodgits"]


rows.reads = rows.asks = broken.reads = broken.asks = ("logits",)


def strange(ours, theirs):
    return 0


strange.reads = strange.asks = ("attention",)
heavy = lambda ours, theirs: 0
heavy.reads = heavy.asks = "logits"
heavy.weight = "10"
'''


@pytest.fixture
def file(tmp_path) -> Path:
    (tmp_path / "my_terms.py").write_text(FILE)
    return tmp_path / "my_terms.py"


@pytest.fixture(scope="module")
def means(images, tmp_path_factory) -> Means:
    where = tmp_path_factory.mktemp("means")
    return Means(images, Store(where / "store"), Targets(where / "targets", 10**9))


def chain(*terms) -> Pipeline:
    student = Link(net=SMALL, fit=FIT, seed=3, terms=terms)
    told = Pipeline(links=(Link(net=SMALL, fit=FIT), student), data=Data(images=200))
    return settled(told, (1, 8, 8), tuple("0123456789"))


def ran(told: Pipeline, means: Means, path=None, keeping=None) -> tuple[list[dict], str]:
    student = pipeline.untrained(told, 1, means.images)
    rows = pipeline.run(told, Means(means.images, means.store, means.targets, keeping), student, path)
    return [asdict(row) | {"seconds": 0} for row in rows if row.link == 1], digest(student)


def test_a_term_of_one_s_own_trains_as_the_same_term_from_here(file, means):
    own, known = ran(chain(OwnTerm(term=f"{file}:again")), means), ran(chain(PKT()), means)
    assert own[1] == known[1]
    assert [row["losses"]["again"] for row in own[0]] == [row["losses"]["pkt"] for row in known[0]]


def test_it_is_found_out_about_with_its_file_its_hash_and_its_weight(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    told = chain(OwnTerm(term="my_terms.py:cosine"))
    (term,) = told.student.terms
    assert isinstance(term, OwnTerm) and (term.term, term.weight) == (f"{file.resolve()}:cosine", 10)
    assert len(term.source) == 16 and settled(told, (1, 8, 8), tuple("0123456789")) is told
    changing = Ramp(start=0, end=1)
    assert chain(OwnTerm(term="my_terms.py:cosine", weight=changing)).student.terms[0].weight == changing


def test_it_is_known_by_what_its_file_says_wherever_that_lies(file, tmp_path):
    (tmp_path / "there").mkdir()
    other = tmp_path / "there" / "my_terms.py"
    other.write_text(FILE)
    keys = [key_of(chain(OwnTerm(term=f"{path}:cosine")), 1, "f") for path in (file, other)]
    other.write_text(FILE + "\n# another\n")
    assert keys[0] == keys[1] != key_of(chain(OwnTerm(term=f"{other}:cosine")), 1, "f")


def test_a_file_that_has_changed_since_is_not_run_for_another(file):
    told = chain(OwnTerm(term=f"{file}:cosine"))
    file.write_text(FILE.replace("1 - F", "2 - F"))
    with pytest.raises(Refusal, match="has changed since"):
        pairs.check(told, (1, 8, 8), 10)


def test_it_is_broken_off_and_gone_on_with_like_any_other(file, means, tmp_path):
    told, path = chain(OwnTerm(term=f"{file}:cosine", share=0.5)), tmp_path / "kept.safetensors"
    unbroken, ends = ran(told, means), iter(range(1, 9))
    with pytest.raises(Paused):
        ran(told, means, path, Keeping(stopping=lambda: next(ends) >= 2))
    assert ran(told, means, path, Keeping()) == unbroken


def test_its_words_are_layers_of_both_networks(file, images):
    (stage,) = stages_of(chain(OwnTerm(term=f"{file}:again")), 1, images)
    assert stage.reads == {0, 2, 4, 5} and stage.asks == (0, 5)
    assert own_term.layer("map 1/2", SMALL) == 2 and own_term.layer("map", SMALL) == 4
    for word in ("map 9", "map 0", "map 3/2", "map x", "map 1/0"):
        with pytest.raises(Refusal, match="map"):
            own_term.layer(word, SMALL)


@pytest.mark.parametrize(
    "name, said",
    [
        ("cosin", "Did you mean 'cosine'"),
        ("silent", "says what it reads, of logits, embedding, map, but 'my_terms.py:silent' does not: below it,"),
        ("strange", "no answer that 'my_terms.py:strange' reads 'attention'"),
        ("heavy", "a number from 0 to 100,000,000, but that of 'my_terms.py:heavy' is '10'"),
    ],
)
def test_what_cannot_be_a_term_is_refused(file, name, said):
    with pytest.raises(Refusal, match=said):
        chain(OwnTerm(term=f"{file}:{name}"))


@pytest.mark.parametrize("word", ["my_terms:cosine", "my_terms.py", "my_terms.py:", "nowhere.py:cosine"])
def test_what_names_no_function_is_refused(word):
    with pytest.raises(Refusal, match=r"FILE\.py:"):
        chain(OwnTerm(term=word))


def test_what_it_raises_or_gives_wrongly_is_told(file, means):
    with pytest.raises(
        Refusal, match=r"one number, a scalar tensor, but 'my_terms.py:rows' gave a tensor of 64; \.mean"
    ):
        ran(chain(OwnTerm(term=f"{file}:rows")), means)
    with pytest.raises(Refusal, match=r"my_terms\.py:broken' raised KeyError: 'lodgits'"):
        ran(chain(OwnTerm(term=f"{file}:broken")), means)


def test_files_of_terms_travel_to_workers(file, tmp_path, monkeypatch):
    from kdsearch.search import networks
    from kdsearch.storage import code
    from kdsearch.storage.bucket import Storage

    told, storage = chain(OwnTerm(term=f"{file}:cosine")), Storage(tmp_path / "results")
    monkeypatch.setattr(code, "SHELVES", [])
    networks.send([told], storage)
    assert networks.sources([told]) == {"my_terms.py:cosine": told.student.terms[0].source}  # pyright: ignore[reportAttributeAccessIssue]
    file.unlink()
    with pytest.raises(Refusal, match="there is no file"):
        pairs.check(told, (1, 8, 8), 10)
    networks.bring(told, storage)
    pairs.check(told, (1, 8, 8), 10)
