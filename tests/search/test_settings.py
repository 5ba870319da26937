"""What the command line says of every pipeline."""

import pytest
from helpers import FIT, STUDENT, TEACHER

from kdsearch.config.pipeline import KD, Data, Fit, Link, Pipeline
from kdsearch.errors import Refusal
from kdsearch.results import folder
from kdsearch.search.settings import Settings, override, pairs_of, resolve

OPEN = Fit()
CHAIN = Pipeline(
    links=(Link(net=TEACHER, fit=OPEN), Link(net=TEACHER, kd=KD(), fit=FIT), Link(net=STUDENT, kd=KD(), fit=OPEN))
)


def epochs(**settings: object) -> list[int | None]:
    told = Settings(**{"epochs": 12, "teacher_epochs": 20, **settings})  # pyright: ignore[reportArgumentType]
    return [link.fit.epochs for link in resolve(CHAIN, told).links]


def test_the_budget_fills_in_epochs_and_a_link_s_own_stay():
    assert epochs() == [20, 4, 12]


def test_the_budget_fills_in_a_batch_size_that_is_left_open_and_no_other():
    left = CHAIN.model_copy(update={"links": (Link(net=TEACHER, fit=Fit(batch_size=None)), *CHAIN.links[1:])})
    assert [link.fit.batch_size for link in resolve(left, Settings(12, 20, 32)).links] == [32, 64, 128]


def test_epochs_given_are_the_student_s_and_cap_those_before_it():
    assert epochs(epochs=3, epochs_given=True) == [3, 3, 3]
    assert epochs(epochs=30, epochs_given=True) == [20, 4, 30]


def test_teacher_epochs_given_overrule_the_cap():
    assert epochs(epochs=3, epochs_given=True, teacher_epochs=9, teacher_epochs_given=True) == [9, 9, 3]


def test_the_seed_is_the_student_s_alone_and_the_data_are_everyone_s():
    found = resolve(CHAIN, Settings(12, 20, seed=5, data="cifar10", image_size=16))
    assert [link.seed for link in found.links] == [0, 0, 5]
    assert (found.data.name, found.data.image_size, found.data.augment) == ("cifar10", 16, "crop+flip")
    assert resolve(CHAIN, Settings(12, 20)).data.augment == "none"


@pytest.mark.parametrize(
    "path, changed",
    [("teacher", [0]), ("assistants", [1]), ("student", [2]), ("links.1", [1]), ("links.-1", [2])],
)
def test_an_override_reaches_the_links_that_it_names(path, changed):
    found = resolve(CHAIN, Settings(12, 20, overrides=((f"{path}.fit.batch_size", "7"),)))
    assert [place for place, link in enumerate(found.links) if link.fit.batch_size == 7] == changed


def test_an_override_of_the_data_is_read_as_yaml():
    assert resolve(CHAIN, Settings(12, 20, overrides=(("data.validation", "0.5"),))).data.validation == 0.5


@pytest.mark.parametrize(
    "path, value, said",
    [
        ("student.fit.batchsize", "3", "Did you mean 'batch_size'"),
        ("studnt.fit.batch_size", "3", "Did you mean 'student'"),
        ("links.9.fit.batch_size", "3", "from 0 to 2"),
        ("links.--1.fit.batch_size", "3", "from 0 to 2"),
        ("student.fit.batch_size", "", "must be numbers in every link"),
        ("teacher.fit.epochs", "null", "must be numbers in every link"),
        ("student.fit.batch_size", "-3", "greater than or equal to 1"),
        ("student.fit.batch_size", "[", "must be YAML"),
        ("student", "3", "names one value"),
    ],
)
def test_an_override_that_cannot_be_is_refused(path, value, said):
    with pytest.raises(Refusal, match=said):
        resolve(CHAIN, Settings(12, 20, overrides=((path, value),)))


def test_an_override_of_a_part_that_a_pipeline_lacks_changes_nothing():
    plain = CHAIN.model_dump(mode="json")
    assert override(plain, "student.hints.share", "0.2") == []
    assert Pipeline.model_validate(plain) == CHAIN


@pytest.mark.parametrize("word", ["student.fit", "=3", "data.name=x"])
def test_words_of_set_are_key_and_value_and_leave_the_data_s_name_alone(word):
    with pytest.raises(Refusal):
        pairs_of([word])
    assert pairs_of(["a.b=c=d"]) == (("a.b", "c=d"),)


def test_a_search_gets_a_folder_that_is_not_there(tmp_path):
    def folder_for(*told):
        return folder.folder_for(*told, taken=[path.name for path in tmp_path.iterdir()])

    assert folder_for(tmp_path, "depth", None) == tmp_path / "depth"
    (tmp_path / "depth").mkdir()
    assert folder_for(tmp_path, "depth", None) == tmp_path / "depth-2"
    assert folder_for(tmp_path, "depth", "mine") == tmp_path / "mine"
    assert folder_for(tmp_path, "store", None) == tmp_path / "store-2"
    for name in ("depth", "store", "a/b", "..", ""):
        with pytest.raises(Refusal):
            folder_for(tmp_path, "depth", name)


def test_views_are_the_usual_ones_unless_there_are_too_many_or_the_space_says_otherwise():
    def views(most: int, **data: object):
        asked = CHAIN.model_copy(update={"data": Data.model_validate({"augment": "crop", **data})})
        return resolve(asked, Settings(4, 4, most_views=most)).data.views

    assert views(64) == 8 and views(3) == 3 and views(3, views=5) == 5 and views(3, views="fresh") == "fresh"
    assert views(64, augment="none") == 1 and views(64, augment="flip") == 2
