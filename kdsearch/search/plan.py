"""What a search finds out before it trains anything: its draws, its data, whether all of it can be."""

import math
import sys
from dataclasses import replace

from kdsearch.config.pipeline import Pipeline
from kdsearch.data.images import load
from kdsearch.distill.teacher import most_views
from kdsearch.errors import Refusal, listed, unknown
from kdsearch.search import spaces
from kdsearch.search.resume import check_images
from kdsearch.search.rungs import RULES, milestones
from kdsearch.search.state import Search
from kdsearch.storage import cache

DRAWS = 1000
"""Random draws in which a search looks for its assistants."""

LOOKED_AT = 100
"""Of these, draws whose pairs are checked beforehand."""


def look(search: Search) -> tuple[list[spaces.Draw], dict[str, Pipeline]]:
    """Read the data, draw, check: all that can refuse a search before it is written. Returns draws, references."""
    _check_choices(search)
    spaces.check_overrides(search.space, search.settings)
    spaces.check_published(search.space, search.settings)
    cache.check()
    drawn, references = _drawn(search)
    for draw in drawn:
        search.ranges |= draw.ranges
    names = {draw.pipeline.data.name for draw in drawn}
    if len(names) > 1:
        raise Refusal(f"A search has one data set, but '{search.space.name}' draws {listed(sorted(names))}.")
    search.data = names.pop()
    search.epochs = max(draw.pipeline.student.fit.epochs or 0 for draw in drawn)
    search.milestones = search.milestones or milestones(search.epochs, search.reduction)
    if search.milestones and search.milestones[-1] >= search.epochs:
        raise Refusal(
            f"Trials are judged before their end, but --milestones names KD epoch {search.milestones[-1]} and students "
            f"have {search.epochs}."
        )
    search.described = drawn[0].pipeline.data
    search.images = load(search.described, search.data_dir, search.progress)
    drawn = _within_limits(search, drawn)
    if search.before:
        check_images(search.before, search.images.fingerprint)
    if search.before and search.before.sizes:
        search.sizes = search.before.sizes
    else:
        sizes = [search.survey(draw.pipeline.student.net).parameters for draw in drawn[: 2 * LOOKED_AT]]
        search.sizes = (min(sizes), max(sizes))
    looked_at = [*(draw.pipeline for draw in drawn[:LOOKED_AT]), *references.values()]
    for draw in drawn[:LOOKED_AT]:
        try:
            search.check(draw.pipeline)
        except Refusal as error:
            named = ", ".join(f"{name} {value}" for name, value in draw.knobs.items())
            raise Refusal(f"{error} So it is where '{search.space.name}' draws {named}.") from None
    for pipeline in references.values():
        search.check(pipeline)
    # A search that goes on keeps its views, whatever room this machine has for them.
    views = (search.before and search.before.views) or most_views(looked_at, search.images, search.cache_limit)
    if views < search.images.views:
        search.settings = replace(search.settings, most_views=views)
        drawn, references = _drawn(search)
        drawn = _within_limits(search, drawn)
    search.facts["teacher_parameters"] = search.survey(spaces.commonest_teacher(drawn).net).parameters
    return drawn, references


def _check_choices(search: Search) -> None:
    if search.rule not in RULES:
        raise unknown("rule", search.rule, RULES)
    if search.sampler not in spaces.SAMPLERS:
        raise unknown("sampler", search.sampler, spaces.SAMPLERS)
    if not 1 < search.reduction < math.inf:
        raise Refusal(f"A rule sends on the best 1/N, so --reduction must be above 1, but got {search.reduction:g}.")
    for name, value in search.limits.set().items():
        if not 0 < value < math.inf:
            raise Refusal(f"--{name.replace('_', '-')} must be a number above 0, but got {value:g}.")


def _drawn(search: Search) -> tuple[list[spaces.Draw], dict[str, Pipeline]]:
    drawn = spaces.draws(search.space, search.settings, DRAWS, search.settings.seed)
    if search.sampler == "grid":
        drawn = spaces.cells(search.space, search.settings, drawn)
    return drawn, spaces.references(search.space, drawn, search.settings)


def _within_limits(search: Search, drawn: list[spaces.Draw]) -> list[spaces.Draw]:
    """The draws that exceed no limit; raises Refusal where there is none."""
    kept, costs = drawn, []
    if search.limits.set():
        kept = []
        for number, draw in enumerate(drawn, start=1):
            costs.append(search.costs(draw.pipeline))
            if search.limits.met(costs[-1]):
                kept.append(draw)
            search.progress("sizing pipelines", number, len(drawn))
    if not kept:
        raise search.limits.refusal(search.space.name, costs)
    if search.sampler == "grid" and search.trials > len(kept):
        if search.trials < sys.maxsize:  # somebody asked for more than there are
            search.facts["why_ended"] = f"every cell of '{search.space.name}' was drawn"
        search.trials = len(kept)
    return kept
