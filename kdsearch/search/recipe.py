"""A config.yaml: a pipeline, and what made it; written and read."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from kdsearch.config.net import Own
from kdsearch.config.parse import load_yaml, parse
from kdsearch.config.pipeline import Pipeline
from kdsearch.config.provenance import Made
from kdsearch.errors import Refusal, first_line
from kdsearch.storage import code

CODE = "code"
"""Folder of an export with the files of a network of the user's own."""


def config_text(pipeline: dict, made: dict, title: str) -> str:
    """A pipeline as YAML, with what made it: `kdsearch train` reads both."""
    made = {name: value for name, value in made.items() if name != "confusion"}  # metrics.json has it
    head = f"# {title} Train it again:  kdsearch train config.yaml\n"
    return head + yaml.safe_dump(pipeline | {"made": made}, sort_keys=False, allow_unicode=True)


@dataclass(frozen=True)
class Recipe:
    """A config file: a pipeline, and what made it where it was exported."""

    pipeline: Pipeline
    made: Made | None
    moved: bool = False
    """Its images lie elsewhere now: they must be the same."""


def read_config(path: Path) -> Recipe:
    """Read a config.yaml by the safe loader; raises Refusal."""
    try:
        plain = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(f"The config '{path}' cannot be read ({error}).") from None
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise Refusal(f"The config '{path}' is not YAML: {str(error).splitlines()[0]}{where}.") from None
    for archive in (path.parent / CODE).glob("*.zip"):
        try:
            code.unpack(archive)
        except (OSError, zipfile.BadZipFile) as error:
            raise Refusal(f"The archive '{archive}' cannot be read ({first_line(error)}); export again.") from None
        code.look_in(archive.parent)
    made = plain.pop("made", None) if isinstance(plain, dict) else None
    pipeline = parse(Pipeline, plain, f"The config '{path}'")
    return Recipe(pipeline, None if made is None else parse(Made, made, f"'made' in the config '{path}'"))


def changed(path: Path) -> str:
    """Whether the file of an exported student of the user's own is another by now: a sentence, else nothing."""
    net = read_config(path / "config.yaml").pipeline.student.net
    if not isinstance(net, Own) or not net.factory.rpartition(":")[0].endswith(".py"):
        return ""
    if code.source(Path(net.factory.rpartition(":")[0])) in ("", net.source):
        return ""
    return f"{net.called} has changed since it was trained; as it was, it is in {path / CODE}"
