"""What search.json may hold beyond its kinds."""

import pytest

from kdsearch.results import files

FACTS = {
    "classes": 10, "images": 100, "validation_images": 10, "knobs": {"width": "{}"}, "teacher_accuracy": 0.5,
    "options": {}, "sizes": [10, 20], "milestones": [1, 3], "networks": {"teacher": {}}, "views": 4, "study": "s-1",
}  # fmt: skip


def test_facts_that_can_be_are_left_alone_and_what_may_be_absent_may():
    assert files.facts(FACTS) == []
    assert files.facts({name: FACTS[name] for name in ("classes", "images", "validation_images", "knobs")}) == []


@pytest.mark.parametrize(
    "name, value",
    [
        ("classes", 1), ("images", 0), ("validation_images", -1), ("views", 0), ("views", "4"), ("options", []),
        ("sizes", [20, 10]), ("sizes", [10]), ("sizes", ["1", "2"]), ("sizes", [0, 10]), ("sizes", "10"),
        ("milestones", 3), ("networks", {"teacher": 1}), ("knobs", {"width": 1}), ("teacher_accuracy", 2.0),
        ("teacher_accuracy", float("nan")), ("study", 3),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named(name, value):
    assert files.facts(FACTS | {name: value}) == [name]
