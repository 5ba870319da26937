"""A trial -> a folder that whoever gets it can use: weights, code, recipe, formats, a card."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdsearch.config.net import Own
from kdsearch.config.pipeline import Pipeline
from kdsearch.config.provenance import Made
from kdsearch.data.pictures import Progress
from kdsearch.errors import Refusal, listed, unknown
from kdsearch.nets import onnx, plain
from kdsearch.results import card as results_card
from kdsearch.results import cells, files, students
from kdsearch.results import tables as results_tables
from kdsearch.results.facts import read_facts
from kdsearch.results.front import best as best_of
from kdsearch.results.front import members
from kdsearch.search import card, deployed, networks
from kdsearch.search.formats import Formats, formats, rough, speeds
from kdsearch.search.judges import Reader
from kdsearch.search.readme import readme
from kdsearch.search.recipe import CODE, config_text
from kdsearch.storage.bucket import Storage
from kdsearch.storage.files import whole

FILES = (
    "student.safetensors", "config.yaml", "metrics.json", "README.md", "model.py", "CARD.md", "card.json", "model.onnx",
    "model.int8.onnx",
)  # fmt: skip
"""What export writes."""

COLUMNS = ("trial", "parameters", "compression", "training_parameters", "macs", "epochs", "kd_epochs", "seed")
"""Of a trial's row, in metrics.json."""

LATER = ("against", "macs_ratio", "bytes", "bytes_ratio", "latency_us", "latency_ratio")
"""Likewise, of searches that know them."""


@dataclass(frozen=True)
class Wanted:
    """What is asked of an export beside its weights."""

    output: Path = Path("exports")
    """In it a folder a search, and there one a trial."""
    onnx: bool = False
    int8: bool = False
    """As ONNX, too."""
    int8_loss: float = 1.0
    """Percentage points of the validation images that int8 may lose."""
    test: bool = False
    """Read the test images, once, for the card."""
    data: str | None = None
    """Where the search's folder of images lies now."""
    data_dir: Path = Path("data")

    @property
    def judges(self) -> bool:
        """Whether images are read."""
        return self.onnx or self.int8 or self.test


def chosen(tables: results_tables.Tables, trial: str | None, best: str | None, front: bool) -> list[str]:
    """The trials that exactly one of the three choices means; raises Refusal."""
    if sum(choice is not None and choice is not False for choice in (trial, best, front)) != 1:
        raise Refusal("Export takes exactly one of --trial ID, --best accuracy|knee, --front.")
    if front:
        found = members(tables.trials.values())
        if not found:
            raise Refusal("The front holds fully trained trials, but this search has none yet.")
        return [_typical(tables, name) for name in found]
    name = best_of(tables.trials, best) if best else str(trial)
    if name not in tables.trials:
        raise unknown("trial", name, tables.trials)
    return [_typical(tables, name)]


def _typical(tables: results_tables.Tables, trial: str) -> str:
    """Of the cell of a grid that a trial stands for the seed that is nearest to its mean; else itself."""
    found = cells.typical(tables, trial) if tables.trials[trial]["replicate_of"] is None else None
    return found.trial if found else trial


@dataclass(frozen=True)
class _Leaving:
    """A trial that is handed over: its row, what made it, where it goes."""

    row: Mapping[str, Any]
    pipeline: Pipeline
    made: Made
    weights: Path
    target: Path
    seeds: Mapping[str, Any] | None
    """Of a grid's cell with several seeds: which this one is."""


def export(
    folder: Path, storage: Storage, tables: results_tables.Tables, trials: Sequence[str], wanted: Wanted,
    progress: Progress,
) -> Iterator[tuple[Path, list[str]]]:  # fmt: skip
    """Write wanted.output/<search>/<trial>/ for each; yields each folder, whole, and what deserves to be told of it.

    Raises Refusal, before anything is written, for a trial that is unfinished, one whose student's file is damaged, or
    where a file that is not of an earlier export of this trial would be replaced; before a trial is written, for what
    cannot be made of it.
    """
    if not 0 <= wanted.int8_loss <= 100:
        raise Refusal(f"--int8-loss is in percentage points, 0 to 100, but got {wanted.int8_loss:g}.")
    if wanted.onnx or wanted.int8:
        onnx.check()
    leaving = [_leaving(folder, tables, trial, wanted) for trial in trials]
    for one in leaving:
        _check_target(one, _recorded(folder, one))
    reader = Reader(wanted.data_dir, wanted.data, wanted.test, progress)
    for number, one in enumerate(leaving):
        progress("exporting", number, len(leaving))
        yield _write(folder, storage, tables, one, wanted, reader)
        progress("exporting", number + 1, len(leaving))


def _leaving(folder: Path, tables: results_tables.Tables, trial: str, wanted: Wanted) -> _Leaving:
    typical = cells.typical(tables, trial)
    pipeline, made = deployed.told(folder, tables.trials[trial])
    target = wanted.output / folder.resolve().name / trial
    return _Leaving(
        tables.trials[trial], pipeline, made, files.weights(folder, "students", trial), target,
        {**vars(typical), "others": list(typical.others)} if typical and typical.trial == trial else None,
    )  # fmt: skip


def _recorded(folder: Path, one: _Leaving) -> dict[str, bytes]:
    """The files that the search knew already."""
    title = f"Trial {one.row['trial']} of the search '{folder.resolve().name}'."
    text = config_text(one.pipeline.model_dump(mode="json"), one.made.plain(), title)
    return {"student.safetensors": one.weights.read_bytes(), "config.yaml": text.encode()}


def _check_target(one: _Leaving, meant: Mapping[str, bytes]) -> None:
    """Raises Refusal where a file would be replaced that export did not write, or wrote of another student."""
    there = {name: _sum(name, (one.target / name).read_bytes()) for name in FILES if (one.target / name).exists()}
    sums = {name: _sum(name, content) for name, content in meant.items()}
    if all(sums.get(name) == found for name, found in there.items()):  # none, or an export that was cut short
        return
    try:
        told = json.loads((one.target / "metrics.json").read_text(encoding="utf-8"))["files"]
        same = told["student.safetensors"] == sums["student.safetensors"]
        changed = [
            name for name, found in there.items()
            if name != "metrics.json" and found not in (told.get(name), sums.get(name))
        ]  # fmt: skip
    except (OSError, ValueError, LookupError, TypeError):
        same, changed = False, list(there)
    if not same or changed:
        what = f"{listed(changed)} there changed since" if same else "what lies there is of another student"
        raise Refusal(
            f"An export replaces what an export of the same trial wrote, but {what}: '{one.target}'; move it away, or "
            f"let --output name another folder."
        )


def _write(
    folder: Path, storage: Storage, tables: results_tables.Tables, one: _Leaving, wanted: Wanted, reader: Reader
) -> tuple[Path, list[str]]:
    networks.bring(one.pipeline, storage)
    contents, facts = _recorded(folder, one), read_facts(folder)
    found = card.facts(tables, facts, one.row, one.pipeline, one.made) | {"seeds": one.seeds}
    student = deployed.made_of(one.pipeline, one.made, one.weights, found)
    made = Formats()
    if wanted.judges:
        int8 = wanted.int8 if wanted.onnx or wanted.int8 else None
        made = formats(student, reader.judges(one.pipeline, one.made), int8, wanted.int8_loss)
    contents |= made.files
    teacher = (one.pipeline.links[0].net, facts.image or one.made.image)
    speed, why = speeds(student, *teacher, made) if made.files else rough(student, one.pipeline.student.net, *teacher)
    found |= {"unmeasured": why}
    sizes = {name: len(content) for name, content in contents.items() if name != "config.yaml"}
    found = card.complete(found, made.judged, speed, sizes)
    contents |= _words(one, found, contents)
    _put(one, contents, _metrics(one, contents), _packed(storage, one))
    return one.target, results_card.said(found)


def _words(one: _Leaving, found: Mapping[str, Any], there: Mapping[str, bytes]) -> dict[str, bytes]:
    """What people and other programs read."""
    made, net = one.made, one.pipeline.student.net
    title = f"Trial {one.row['trial']} of the search '{found['search']}'."
    code = plain.code(title, net, made.image, made.classes, made.mean, made.std)
    own = _is_file(net) or networks.own_terms([one.pipeline])
    more = (*there, "metrics.json", "model.py", "CARD.md", *(["code/"] if own else []))
    texts = {
        "model.py": code.text, "CARD.md": results_card.card(found, _licence(one.target / "CARD.md")),
        "card.json": json.dumps(found, indent=1, ensure_ascii=False) + "\n",
        "README.md": readme(found, one.target.as_posix(), more, code.needs),
    }  # fmt: skip
    return {name: text.encode() for name, text in texts.items()}


def _metrics(one: _Leaving, contents: Mapping[str, bytes]) -> bytes:
    made = one.made.plain()
    told = {name: one.row[name] for name in COLUMNS}
    told |= {name: one.row[name] for name in LATER if one.row.get(name) is not None}
    told |= {"accuracy": made["accuracy"], **students.per_class(made), "made": made}
    told |= {"seeds": one.seeds} if one.seeds else {}
    told["files"] = {name: _sum(name, content) for name, content in contents.items()}
    return (json.dumps(told, indent=1) + "\n").encode()


def _put(one: _Leaving, contents: Mapping[str, bytes], metrics: bytes, archives: Sequence[Path]) -> None:
    """All files, each whole. metrics.json, which tells their sums, comes when nothing is left that has others: what is
    cut short can be made again."""
    for path in (one.target / name for name in FILES if name != "metrics.json"):
        if path.exists() and path.read_bytes() != contents.get(path.name):
            path.unlink()
    for name, content in {"metrics.json": metrics, **contents}.items():
        with whole(one.target / name) as draft:
            draft.write_bytes(content)
    for archive in archives:
        with whole(one.target / CODE / archive.name) as draft:
            draft.write_bytes(archive.read_bytes())


def _packed(storage: Storage, one: _Leaving) -> list[Path]:
    """The files of a user's own student and terms, as they were: `train` and `load` find them there."""
    net = one.pipeline.student.net
    sources = [net.source] if isinstance(net, Own) and _is_file(net) else []
    sources += [term.source for term in networks.own_terms([one.pipeline])]
    archives = [networks.shelf(storage) / f"{source}.zip" for source in dict.fromkeys(sources)]
    return [archive for archive in archives if archive.is_file()]


def _is_file(net: Any) -> bool:
    return isinstance(net, Own) and net.factory.rpartition(":")[0].endswith(".py")


def _sum(name: str, content: bytes) -> str:
    """Of a file, what is the user's to write in it aside."""
    own = content.partition(results_card.LICENCE.encode())[0] if name == "CARD.md" else content
    return hashlib.sha256(own).hexdigest()


def _licence(page: Path) -> str:
    """What a user wrote at the end of an earlier card; nothing where there is none."""
    there = page.read_text(encoding="utf-8") if page.exists() else ""
    return there.partition(results_card.LICENCE)[2]
