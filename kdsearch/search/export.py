"""A trial -> the deployed student's weights and the config that runs it again, to the same number."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kdsearch.config.net import Own
from kdsearch.config.parse import load_yaml, parse
from kdsearch.config.pipeline import Pipeline
from kdsearch.config.provenance import Made
from kdsearch.errors import Refusal, listed, unknown
from kdsearch.results import files
from kdsearch.results import tables as results_tables
from kdsearch.results.front import best as best_of
from kdsearch.results.front import members
from kdsearch.storage import code
from kdsearch.storage.files import whole

CODE = "code"
"""Folder of an export with the files of a network of the user's own."""

FILES = ("student.safetensors", "config.yaml", "metrics.json")
"""What export writes."""


def chosen(tables: results_tables.Tables, trial: str | None, best: str | None, front: bool) -> list[str]:
    """The trials that exactly one of the three choices means; raises Refusal."""
    if sum(choice is not None and choice is not False for choice in (trial, best, front)) != 1:
        raise Refusal("Export takes exactly one of --trial ID, --best accuracy|knee, --front.")
    if front:
        found = members(tables.trials.values())
        if not found:
            raise Refusal("The front holds fully trained trials, but this search has none yet.")
        return found
    name = best_of(tables.trials, best) if best else trial
    if name not in tables.trials:
        raise unknown("trial", str(name), tables.trials)
    return [name]


def export(folder: Path, tables: results_tables.Tables, trials: list[str], output: Path) -> list[Path]:
    """Write OUTPUT/<search>/<trial>/{config.yaml, student.safetensors, metrics.json} for each; returns the folders.

    Raises Refusal, before anything is written, for a trial that is unfinished, one whose student's file is damaged, or
    where a file that is not of an earlier export of this trial would be replaced.
    """
    made = {trial: _made(folder, tables.trials[trial]) for trial in trials}
    targets = {trial: output / folder.resolve().name / trial for trial in trials}
    for trial, target in targets.items():
        text = _config(folder, tables.trials[trial], made[trial])
        _check_target(target, files.weights(folder, "students", trial), hashlib.sha256(text.encode()).hexdigest())
    return [_write(folder, tables.trials[trial], made[trial], target) for trial, target in targets.items()]


def _made(folder: Path, row: dict) -> dict:
    weights = files.weights(folder, "students", row["trial"])
    if row["state"] != "complete" and not weights.exists():
        cause = f" ({row['cause']})" if row["cause"] else ""
        raise Refusal(f"Only a fully trained trial can be exported, but trial {row['trial']} is {row['state']}{cause}.")
    from kdsearch.distill.store import check_net

    made = check_net(weights, "Its pipeline is in trials.parquet; the search must be run again to have the weights.")
    parse(Made, made, f"'made' in '{weights}'")
    parse(Pipeline, json.loads(row["pipeline"]), f"The pipeline of trial {row['trial']}")
    return made


def _config(folder: Path, row: dict, made: dict) -> str:
    pipeline = json.loads(row["pipeline"])
    return config_text(pipeline, made, f"Trial {row['trial']} of the search '{folder.resolve().name}'.")


def _check_target(target: Path, weights: Path, config: str) -> None:
    """Raises Refusal where a file would be replaced that export did not write, or wrote of another student; `config`:
    hash of the config.yaml to come."""
    there = [name for name in FILES if (target / name).exists()]
    meant = {"student.safetensors": _sum(weights), "config.yaml": config}
    if all(meant.get(name) == _sum(target / name) for name in there):  # none, or an export that was cut short
        return
    try:
        told = json.loads((target / "metrics.json").read_text(encoding="utf-8"))
        sums = told["files"]
        same = sums["student.safetensors"] == _sum(weights)
        changed = [name for name in there if name in sums and sums[name] != _sum(target / name)]
    except (OSError, ValueError, LookupError, TypeError):
        same, changed = False, there
    if not same or changed:
        what = f"{listed(changed)} there changed since" if same else "what lies there is of another student"
        raise Refusal(
            f"An export replaces what an export of the same trial wrote, but {what}: '{target}'; move it away, or let "
            f"--output name another folder."
        )


def _write(folder: Path, row: dict, made: dict, target: Path) -> Path:
    weights, text = files.weights(folder, "students", row["trial"]), _config(folder, row, made)
    columns = ("trial", "parameters", "compression", "training_parameters", "macs", "epochs", "kd_epochs", "seed")
    with whole(target / "student.safetensors") as draft:
        shutil.copyfile(weights, draft)
    with whole(target / "config.yaml") as draft:
        draft.write_text(text, encoding="utf-8")
    _write_code(folder, text, target)
    metrics = {name: row[name] for name in columns} | {"accuracy": made["accuracy"], **per_class(made), "made": made}
    metrics["files"] = {name: _sum(target / name) for name in FILES if name != "metrics.json"}
    with whole(target / "metrics.json") as draft:
        draft.write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    return target


def _write_code(folder: Path, config: str, target: Path) -> None:
    """The files of a user's own student, as they were: `train` finds them there."""
    net = load_yaml(config)["links"][-1]["net"]
    archive = folder.resolve().parent / "store" / "code" / f"{net.get('source')}.zip"
    if archive.is_file():
        with whole(target / CODE / archive.name) as draft:
            shutil.copyfile(archive, draft)


def changed(path: Path) -> str:
    """Whether the file of an exported student of the user's own is another by now: a sentence, else nothing."""
    net = read_config(path / "config.yaml").pipeline.student.net
    if not isinstance(net, Own) or not net.factory.rpartition(":")[0].endswith(".py"):
        return ""
    if code.source(Path(net.factory.rpartition(":")[0])) in ("", net.source):
        return ""
    return f"{net.called} has changed since it was trained; as it was, it is in {path / CODE}"


def per_class(made: Mapping[str, Any]) -> dict[str, Any]:
    """balanced_accuracy; class_accuracy by class, and confusion: of the validation images of a class, how many were
    taken for which. Empty where an older version did not count."""
    classes, counts = made["classes"], made.get("confusion") or ()
    if not counts:
        return {}
    rows: dict[str, dict[str, int]] = {name: {} for name in classes}
    for one, other, count in counts:
        rows[classes[one]][classes[other]] = count
    right = {name: row.get(name, 0) / sum(row.values()) for name, row in rows.items() if row}
    return {"balanced_accuracy": made["balanced_accuracy"], "class_accuracy": right, "confusion": rows}


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
        code.unpack(archive)
        code.look_in(archive.parent)
    made = plain.pop("made", None) if isinstance(plain, dict) else None
    pipeline = parse(Pipeline, plain, f"The config '{path}'")
    return Recipe(pipeline, None if made is None else parse(Made, made, f"'made' in the config '{path}'"))
