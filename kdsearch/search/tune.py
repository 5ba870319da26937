"""Searching: from what was asked for to the search's folder."""

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from kdsearch.cluster.own import own_ray
from kdsearch.cluster.session import probe, resolve
from kdsearch.config.parse import parse
from kdsearch.data.folder import placed
from kdsearch.errors import Refusal, listed
from kdsearch.results import searches
from kdsearch.results.facts import read_facts
from kdsearch.results.folder import check_name, folder_for
from kdsearch.results.show import console
from kdsearch.search import checked, given, spaces, worth
from kdsearch.search.asked import Asked
from kdsearch.search.estimate import estimate
from kdsearch.search.look import look
from kdsearch.search.opened import Search
from kdsearch.search.plan import Place, Plan
from kdsearch.search.progress import Watch
from kdsearch.search.resume import check_recipe, check_source
from kdsearch.search.run import run
from kdsearch.storage.bucket import at

ROUGHLY = 10
"""Draws by which the room of a teacher's answers is reckoned."""

ALSO = {"set": "overrides", "storage": "results"}
"""Names that the command line has for options."""


def tune(space: object, *, progress: bool = True, command: str = "", **options: Any) -> Search | Plan:
    """Search a space: draw pipelines, train them, keep the front of accuracy against compression, or against what is
    asked for; returns the search.

    `space` is a name from `kdsearch.spaces()`, the path of a Python file, a module, or a function of one. `options` are
    those of `kdsearch tune`, by the same names with `_` for `-`, with the same defaults and checks: see
    `kdsearch.search.asked.Asked`. With `dry_run` it draws and checks, and returns the plan. `command` is how it was
    asked for, as search.json keeps it. A Ray that runs already is used and left.
    Raises Refusal; at Ctrl-C, KeyboardInterrupt once all that runs is kept: `resume=True` goes on.
    """
    plan = None
    with Watch(console(quiet=not progress)) as watch, own_ray():
        try:
            asked = asked_for(space, options)
            plan = look(*begun(asked, command or f"kdsearch.tune({asked.space!r}, …)"), watch.read)
            for sentence in _first(plan):
                watch.out.print(sentence, soft_wrap=True)
            _check_teacher(plan, watch)
            watch.wait("timing a step …")
            if told := estimate(plan):
                watch.out.print(f"{told}", soft_wrap=True)
            if not asked.dry_run:
                run(plan, watch.show, watch.out.print, watch.read)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_left(plan)) from None
    return plan if plan.asked.dry_run else Search(plan.folder.name if plan.storage.uri else plan.folder, asked.results)


def _first(plan: Plan) -> Iterator[str]:
    """What a user is told before anything is trained."""
    yield plan.images.account
    yield from plan.notes
    place, asked, space = plan.place, plan.asked, plan.space.name
    if not (asked.dry_run or place.before or asked.name):
        taken = [*searches.names_taken(place.storage), plan.folder.name]
        another = folder_for(place.storage.folder, space, None, taken).name
        yield f"{plan.folder}: a new search; the same command again begins another, {another} (--resume: goes on)"


def _check_teacher(plan: Plan, watch: Watch) -> None:
    """Tell what a given teacher is worth; raises Refusal where it is worth nothing, unless it is to teach anyway."""
    if plan.settings.teacher is None:
        return
    pipelines = [draw.pipeline for draw in plan.draws[:ROUGHLY]]
    found = checked.check(pipelines[0], pipelines, plan.images, watch.read, plan.asked.precision)
    worth.show(found, watch.out.print, watch.warn)
    worth.judge(found, plan.asked.teacher_anyway, watch.warn)


def _left(plan: Plan | None) -> str:
    if plan is None or not plan.folder.exists():
        return "No trial had begun, so there are no results."
    return f"All that was trained is kept.\nGo on: {plan.place.resume}"


def asked_for(space: object, options: dict[str, Any]) -> Asked:
    """The options of `tune`, checked, None as if it were not given; raises Refusal with the first that is wrong, or
    that there is not."""
    told = {ALSO.get(name, name): value for name, value in options.items() if value is not None}
    if len(told) < sum(value is not None for value in options.values()):
        twice = [f"{one} and {two}" for one, two in ALSO.items() if {one, two} <= set(options)]
        raise Refusal(f"An option has one value, but got two names of the same: {listed(twice)}; leave one out.")
    return parse(Asked, {"space": file_of(space), **told}, "tune")


def file_of(space: object) -> str:
    """The word of a space: a name, a path, a module, or a function (of its module). Raises Refusal."""
    if isinstance(space, str | Path):
        return str(space)
    module = space if isinstance(space, ModuleType) else sys.modules.get(getattr(space, "__module__", ""))
    path = getattr(module, "__file__", None)
    if path is not None and getattr(module, "__name__", "") == "__main__":
        raise Refusal(f"A space has a file of its own, but got one in '{path}', which is running; move it to another.")
    if path is None or not Path(path).is_file():
        raise Refusal(
            f"A space is a file, since a search that goes on compares it, but got {space!r}, which has none; write it "
            f"to one (in a notebook: %%writefile my_space.py) and give './my_space.py'."
        )
    return str(path)


def begun(asked: Asked, command: str = "") -> tuple[Asked, spaces.Space, Place]:
    """What is asked for with all words made plain, its space, and where it lies: a new folder, or that of the search
    that goes on. `command`: how it was asked for. Raises Refusal."""
    path = spaces.find(asked.space)
    probe(resolve(asked.address))
    word = path.stem if path.parent == spaces.own_folder() else str(path)
    asked = asked.model_copy(update={"space": word})
    if asked.teacher or asked.student:
        asked = asked.model_copy(update=given.files(asked))
    if asked.data is not None:
        asked = asked.model_copy(update={"data": placed(asked.data)})
    storage, facts = at(asked.results), None
    if asked.resume:
        name = searches.only(path.stem, storage) if asked.name is None else asked.name
        check_name(name)
        folder = searches.resumed(name, storage)
        asked = asked.resumed(folder)
        facts = read_facts(folder)
        check_recipe(facts)
        check_source(facts, spaces.source(path), path)
    else:
        folder = folder_for(storage.folder, path.stem, asked.name, searches.names_taken(storage))
    again = ["kdsearch", "tune", word, "--name", folder.name]
    if asked.results != "results":
        again += ["--storage", asked.results]
    again = shlex.join([*again, "--resume"])
    return asked, spaces.load(path), Place(storage, folder, again, facts, facts.command if facts else command)
