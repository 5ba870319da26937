"""Draws of a space: random ones, all cells of a grid, one for a sampler; and whether what is asked for fits them."""

import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from kdsearch.config.pipeline import Pipeline
from kdsearch.errors import Refusal, listed, nobody
from kdsearch.interrupts import Late, at_most
from kdsearch.nets.factory import Noted, Unmade
from kdsearch.search import spaces
from kdsearch.search.networks import certain, family
from kdsearch.search.settings import Settings, override, resolve
from kdsearch.search.spaces import Draw, Space, said_of


def propose(trial: Any, space: Space, settings: Settings) -> dict:
    """One draw as plain data, for a sampler. Raises Refusal."""
    try:
        with at_most(spaces.PATIENCE):
            networks = (settings.teacher, family(settings)) if space.takes_networks else ()
            pipeline = space.draw(Noted(trial) if networks else trial, *networks)
    except Unmade:
        raise
    except (Exception, SystemExit, Late) as error:
        raise Refusal(f"The space '{space.name}' failed at a draw: {said_of(error, space.path)}") from error
    if not isinstance(pipeline, Pipeline):
        raise Refusal(f"space(trial) must return a Pipeline, but in '{space.path}' it returned {pipeline!r}.")
    if space.repeats:
        return {"pipeline": pipeline.model_dump(mode="json")}
    if len(pipeline.links) < 2:
        raise Refusal(f"A pipeline of a search needs a teacher and a student, but '{space.name}' drew a single link.")
    return {"pipeline": certain(resolve(pipeline, settings), settings).model_dump(mode="json")}


def draws(
    space: Space, settings: Settings, count: int, seed: int, progress: Callable[[str, int, int], None] = nobody
) -> list[Draw]:
    """Random draws of a space, resolved; raises Refusal where the space fails or an override contradicts it."""
    from optuna.samplers import RandomSampler

    found = []
    for number, draw in enumerate(islice(_asked(space, settings, RandomSampler(seed=seed)), count), start=1):
        found.append(draw)
        progress("drawing pipelines", number, count)
    return found


def cells(space: Space, settings: Settings, drawn: list[Draw]) -> list[Draw]:
    """Every combination of a space's knobs; raises Refusal where `drawn` shows a knob without steps."""
    from kdsearch.search.samplers import Grid, check

    check(space.name, {name: text for draw in drawn for name, text in draw.ranges.items()})
    found: dict[str, Draw] = {}
    for draw in _asked(space, settings, Grid(seed=0)):
        if repr(draw.knobs) in found:
            break
        found[repr(draw.knobs)] = draw
    return list(found.values())


def _asked(space: Space, settings: Settings, sampler: Any) -> Iterator[Draw]:
    import optuna
    from optuna.distributions import distribution_to_json

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=sampler)
    while True:
        trial = study.ask()
        plain = propose(trial, space, settings)["pipeline"]
        try:
            ranges = {name: distribution_to_json(item) for name, item in trial.distributions.items()}
        except (TypeError, ValueError) as error:
            raise Refusal(
                f"Knobs are numbers, words, True, False or None, but '{space.name}' draws others ({error}); draw "
                f"a word that stands for one."
            ) from None
        yield Draw(dict(trial.params), Pipeline.model_validate(plain), ranges)


def check_published(space: Space, settings: Settings) -> None:
    """Raises Refusal for a published setting that the space could not have drawn."""
    from optuna.trial import FixedTrial

    for point in space.published:
        trial = FixedTrial(point)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # Optuna only warns of a number that is out of range or off its step
                propose(trial, space, settings)
        except Refusal as error:
            raise Refusal(f"PUBLISHED of '{space.name}' holds {point}, which it cannot draw. {error}") from None
        unused = set(point) - set(trial.params)
        if unused:
            raise Refusal(f"PUBLISHED of '{space.name}' gives {listed(sorted(unused))}, which {point} does not draw.")


def check_overrides(space: Space, settings: Settings, count: int = 100) -> None:
    """Refuse a --set that changes nothing in any of so many draws, or that would overrule what the space draws."""
    if not settings.overrides:
        return
    bare = Settings(**{**settings.__dict__, "overrides": ()})
    plains = [draw.pipeline.whole() for draw in draws(space, bare, count, seed=0)]
    for path, value in settings.overrides:
        old = {repr(item) for plain in plains for item in override(plain, path, value)}
        if not old:
            raise Refusal(f"--set {path} changes nothing: no pipeline of '{space.name}' has that part.")
        if len(old) > 1:
            some = listed(sorted(old)[:3])
            raise Refusal(f"--set changes constants, but '{space.name}' draws {path} itself (such as {some}).")
