"""What a search finds out before it trains anything: its draws, its data, whether all of it can be."""

import math
import sys
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from kdsearch.config.datasets import KNOWN
from kdsearch.config.pipeline import Data, Pipeline
from kdsearch.data.images import load, silent
from kdsearch.distill.teacher import most_views
from kdsearch.errors import Refusal, listed, unknown
from kdsearch.nets import pairs, settle
from kdsearch.search import drawing, given, networks, spaces, within
from kdsearch.search.asked import Asked
from kdsearch.search.limits import Limits
from kdsearch.search.plan import Place, Plan, Progress
from kdsearch.search.references import references as references_of
from kdsearch.search.resume import check_images
from kdsearch.search.rungs import RULES, milestones
from kdsearch.search.settings import Settings, numbers_of, pairs_of
from kdsearch.storage import cache

DRAWS = 1000
"""Random draws in which a search looks for its assistants."""
OWN_DRAWS = 40
"""Of networks of the user's own."""
LOOKED_AT = 100
"""Of these, draws whose pairs are checked beforehand."""


def look(asked: Asked, space: spaces.Space, place: Place, progress: Progress = silent) -> Plan:
    """Read the data, draw, check: all that can refuse a search before it is written. Raises Refusal."""
    given.check(asked, space.name, space.takes_networks)
    settings, sampler, rule, limits, trials = _chosen(asked, space)
    if not space.takes_networks:  # whose parts are known once the images are
        drawing.check_overrides(space, settings)
    cache.check()
    drawn, references = _drawn(space, settings, sampler)  # first: what is asked for wrongly is no fault of PUBLISHED
    drawing.check_published(space, settings)
    described = _described(space, drawn)
    epochs = max(draw.pipeline.student.fit.epochs or 0 for draw in drawn)
    images = load(described, Path(asked.data_dir), progress, asked.bytes)
    before = place.before
    if networks.own_networks(draw.pipeline for draw in drawn):
        teacher = settings.teacher and settle.certain(settings.teacher, images.shape, images.classes)
        settings = replace(settings, shape=images.shape, classes=images.classes, teacher=teacher)
        drawing.check_overrides(space, settings, OWN_DRAWS)
        drawn, references = _drawn(space, settings, sampler, progress)
    networks.check_sources(before.sources if before else {}, networks.sources(draw.pipeline for draw in drawn))
    study = (before and before.study) or f"{place.folder.name}-{uuid4().hex[:8]}"
    plan = Plan(
        asked, space, place, settings, sampler, rule, limits, trials, tuple(drawn), references, images, epochs,
        _milestones(asked, epochs), cache.limit(), study,
        {name: text for draw in drawn for name, text in draw.ranges.items()},
    )  # fmt: skip
    plan = within.timed(_sized(within.counted(plan, progress)), progress)
    looked_at = [*(draw.pipeline for draw in plan.draws[:LOOKED_AT]), *references.values()]
    _check_pairs(plan)
    # A search that goes on keeps its views, whatever room this machine has for them.
    views = (before and before.views) or most_views(looked_at, images, plan.cache_limit)
    _, height, width = images.shape
    settled = settings if described.name in KNOWN else replace(settings, size=(width, height))
    settled = replace(settled, most_views=views) if views < images.views else settled
    if settled != settings:
        settings = settled
        drawn, references = _drawn(space, settings, sampler, progress)
        plan = replace(plan, settings=settings, draws=tuple(drawn), references=references)
        plan = within.cells(within.counted(plan, progress), progress)
    return plan


def _chosen(asked: Asked, space: spaces.Space) -> tuple[Settings, str, str, Limits, int]:
    """Settings, sampler, rule, limits and trials, as asked for, else as the space's budget says. Raises Refusal."""
    budget = space.budget if asked.data in (None, "digits") else space.full_budget
    sampler = asked.sampler or budget.sampler
    if asked.seeds > 1 and sampler != "grid":
        raise Refusal(
            f"--seeds trains each cell of a grid {asked.seeds} times, but '{space.name}' is searched by {sampler}: "
            f"confirm its front afterwards (kdsearch confirm), or choose --sampler grid."
        )
    trials = asked.trials or (sys.maxsize if sampler == "grid" else budget.trials)
    if trials is None:
        raise Refusal(f"'{space.name}' is a grid and says no number of draws; --sampler {sampler} needs --trials.")
    rule = asked.rule or budget.rule or ("none" if sampler == "grid" else "union")
    limits = Limits(asked.max_params, asked.max_macs, asked.max_bytes, asked.min_compression)
    if rule not in RULES:
        raise unknown("rule", rule, RULES)
    if sampler not in spaces.SAMPLERS:
        raise unknown("sampler", sampler, spaces.SAMPLERS)
    if not 1 < asked.reduction < math.inf:
        raise Refusal(f"A rule sends on the best 1/N, so --reduction must be above 1, but got {asked.reduction:g}.")
    for name, value in limits.set().items():
        if not 0 < value < math.inf:
            raise Refusal(f"--{name.replace('_', '-')} must be a number above 0, but got {value:g}.")
    settings = Settings(
        epochs=asked.epochs or budget.epochs, teacher_epochs=asked.teacher_epochs or budget.teacher_epochs,
        batch_size=budget.batch_size, epochs_given=asked.epochs is not None,
        teacher_epochs_given=asked.teacher_epochs is not None, data=asked.data, image_size=asked.image_size,
        seed=asked.seed, overrides=pairs_of(asked.overrides or ()), teacher=given.teacher(asked),
        student=asked.student, teacher_train=asked.teacher_train,
    )  # fmt: skip
    return settings, sampler, rule, limits, trials


def _described(space: spaces.Space, drawn: list[spaces.Draw]) -> Data:
    """The data of all draws; raises Refusal where they have several."""
    names = {draw.pipeline.data.name for draw in drawn}
    if len(names) > 1:
        raise Refusal(f"A search has one data set, but '{space.name}' draws {listed(sorted(names))}.")
    return drawn[0].pipeline.data


def _milestones(asked: Asked, epochs: int) -> tuple[int, ...]:
    found = numbers_of(asked.milestones or "") or milestones(epochs, asked.reduction)
    if found and found[-1] >= epochs:
        raise Refusal(
            f"Trials are judged before their end, but --milestones names KD epoch {found[-1]} and students have "
            f"{epochs}."
        )
    return found


def _sized(plan: Plan) -> Plan:
    """With the sizes of its students; a search that goes on keeps those that it began with."""
    before = plan.place.before
    if before:
        check_images(before, plan.images.fingerprint)
    if before and before.sizes:
        return replace(plan, sizes=before.sizes)
    if plan.looked_at.measured:  # by a sample
        return plan
    few = OWN_DRAWS if plan.looked_at.name == "macs" else 2 * LOOKED_AT  # which take long to count
    surveys = [plan.survey(draw.pipeline.student.net) for draw in plan.draws[:few]]
    sizes = [getattr(survey, plan.looked_at.column) for survey in surveys]
    return replace(plan, sizes=(min(sizes), max(sizes)))


def _check_pairs(plan: Plan) -> None:
    shape = plan.images.shape, len(plan.images.classes)
    for draw in plan.draws[:LOOKED_AT]:
        try:
            pairs.check(draw.pipeline, *shape)
        except Refusal as error:
            named = ", ".join(f"{name} {value}" for name, value in draw.knobs.items())
            raise Refusal(f"{error} So it is where '{plan.space.name}' draws {named}.") from None
    for pipeline in plan.references.values():
        pairs.check(pipeline, *shape)


def _drawn(
    space: spaces.Space, settings: Settings, sampler: str, progress: Progress = silent
) -> tuple[list[spaces.Draw], dict[str, Pipeline]]:
    """Draws, and the references; of users' own networks, each of which their code makes, as many as are looked at."""
    count, tell = (OWN_DRAWS, progress) if settings.shape else (DRAWS, silent)
    drawn = drawing.draws(space, settings, count, settings.seed, tell)
    if sampler == "grid":
        drawn = drawing.cells(space, settings, drawn)
    return drawn, references_of(space, drawn, settings)
