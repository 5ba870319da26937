"""Guards of search_spaces/: every space keeps its promises."""

import ast
import json
from dataclasses import replace

import pytest

from kdsearch.config.net import Own
from kdsearch.config.pipeline import Pipeline
from kdsearch.nets import pairs, settle, survey
from kdsearch.search import drawing, spaces
from kdsearch.search.settings import Settings

SPACES = sorted(spaces.names())
SIZES = ("depth_vs_hint", "everything")
"""Spaces that search over the student's size."""
GRIDS = {
    "hint_location": 5, "depth": 4, "multi_hint": 7, "mnist_basics": 2, "alpha_temperature": 25, "data_fraction": 14,
    "teacher_free": 6, "distilled_teacher": 4, "assistant_size": 6, "methods": 17,
}  # fmt: skip
"""Grids and how many cells they have."""
DRAWS = 200
NETS = """
from torch import nn


class Net(nn.Sequential):
    def __init__(self, classes, width, blocks):
        layers, channels = [], 3
        for stage in (1, 2):
            for block in range(blocks):
                layers += [nn.Conv2d(channels, width * stage, 3, 1 if block else 2, 1), nn.BatchNorm2d(width * stage)]
                channels = width * stage
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))

    def forward(self, images):
        return super().forward(images.expand(-1, 3, -1, -1))  # grey ones, too


def teacher(classes):
    return Net(classes, 64, 2)


def student(classes, trial):
    return Net(classes, trial.suggest_int("width", 4, 32, log=True), trial.suggest_int("blocks", 1, 2))
"""
"""A user's own teacher and students, for the space that takes them."""


@pytest.fixture(scope="module", params=SPACES)
def drawn(request, tmp_path_factory) -> tuple[spaces.Space, list[spaces.Draw]]:
    space = spaces.load(spaces.find(request.param))
    settings = Settings(space.budget.epochs, space.budget.teacher_epochs)
    if space.takes_networks:
        nets = tmp_path_factory.mktemp("own") / "my_nets.py"
        nets.write_text(NETS)
        shape, classes = (3, 32, 32), tuple(map(str, range(10)))
        teacher = settle.certain(Own(kind="own", factory=f"{nets}:teacher"), shape, classes)
        settings = replace(settings, teacher=teacher, student=f"{nets}:student", shape=shape, classes=classes)
    return space, drawing.draws(space, settings, DRAWS, seed=0)


def test_where_networks_are_given_all_that_can_be_asked_of_hints_is_drawn(drawn):
    if not drawn[0].takes_networks:
        return
    assert {draw.pipeline.student.pairs for draw in drawn[1]} == {"none", "1→1", "1→1 2→2"}
    assert {draw.knobs["hint"] for draw in drawn[1]} == {"none", "1/3", "2/3", "1/3+2/3", "all"}


@pytest.mark.parametrize("image", [(1, 8, 8), (3, 32, 32)])
def test_every_draw_fits_and_survives_the_trip_to_a_worker(drawn, image):
    for draw in drawn[1]:
        there = Pipeline.model_validate(json.loads(draw.pipeline.model_dump_json()))
        assert there == draw.pipeline
        pairs.check(there, image, 10)


def test_no_student_is_larger_than_its_teacher_and_sizes_span_a_factor_of_ten_where_they_are_the_question(drawn):
    sizes = []
    for draw in drawn[1]:
        teacher, *_, student = (survey.survey(link.net, (1, 8, 8), 10).parameters for link in draw.pipeline.links)
        assert student < teacher or drawn[0].name == "teacher_free"
        sizes.append(student)
    assert max(sizes) > 10 * min(sizes) or drawn[0].name not in SIZES


def test_a_grid_has_its_cells_each_another_pipeline_with_equal_budgets(drawn):
    space, found = drawn
    assert (space.budget.sampler == "grid") == (space.name in GRIDS) == (space.full_budget.sampler == "grid")
    if space.name not in GRIDS:
        return
    cells = drawing.cells(space, Settings(space.budget.epochs, space.budget.teacher_epochs), found)
    assert len({draw.pipeline for draw in cells}) == len(cells) == GRIDS[space.name]
    assert len({draw.pipeline.student.fit.epochs for draw in cells}) == 1
    assert space.reference is None and len({draw.pipeline.links[0] for draw in cells}) == 1


def test_a_knob_has_one_range_in_all_draws(drawn):
    for name in {name for draw in drawn[1] for name in draw.ranges}:
        assert len({draw.ranges[name] for draw in drawn[1] if name in draw.ranges}) == 1


def test_assistants_have_recipes_of_their_own_that_are_never_drawn(drawn):
    assert len({draw.pipeline.links[:-1] for draw in drawn[1]}) <= 16


@pytest.mark.parametrize("name", SPACES)
def test_a_space_s_docstring_asks_its_question_and_gives_its_command(name):
    said = ast.get_docstring(ast.parse(spaces.find(name).read_text())) or ""
    assert said.splitlines()[0].endswith("?") and f"kdsearch tune {name}" in said
