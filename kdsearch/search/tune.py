"""Searching, from what was asked for to the search's folder."""

import shlex
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from kdsearch.cluster.session import probe, resolve
from kdsearch.config.parse import parse
from kdsearch.data.sources import placed
from kdsearch.errors import Refusal
from kdsearch.results import files, searches
from kdsearch.results.folder import check_name, folder_for
from kdsearch.search import spaces
from kdsearch.search.asked import Asked
from kdsearch.search.plan import Place
from kdsearch.search.resume import check_source
from kdsearch.storage.bucket import at


def asked_for(space: object, options: dict[str, Any]) -> Asked:
    """The options of `tune`, checked; raises Refusal with the first that is wrong, or that there is not."""
    told = {"overrides" if name == "set" else name: value for name, value in options.items()}
    return parse(Asked, {"space": file_of(space), **told}, "tune")


def file_of(space: object) -> str:
    """The word of a space: a name, a path, a module, or a function (of its module). Raises Refusal."""
    if isinstance(space, str | Path):
        return str(space)
    module = space if isinstance(space, ModuleType) else sys.modules.get(getattr(space, "__module__", ""))
    path = getattr(module, "__file__", None)
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
    if asked.data is not None:
        asked = asked.model_copy(update={"data": placed(asked.data)})
    storage, facts = at(asked.results), {}
    if asked.resume:
        name = searches.only(path.stem, storage) if asked.name is None else asked.name
        check_name(name)
        folder = searches.resumed(name, storage)
        asked = asked.resumed(folder)
        facts = files.read_facts(folder)
        check_source(facts, spaces.source(path), path)
    else:
        folder = folder_for(storage.folder, path.stem, asked.name, searches.names_taken(storage))
    again = ["kdsearch", "tune", word, "--name", folder.name]
    if asked.results != "results":
        again += ["--storage", asked.results]
    again = shlex.join([*again, "--resume"])
    return asked, spaces.load(path), Place(storage, folder, again, facts, facts.get("command") or command)
