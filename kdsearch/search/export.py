"""A trial -> the deployed student's weights and the config that runs it again, to the same number."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml

from kdsearch.config.parse import parse
from kdsearch.config.pipeline import Pipeline
from kdsearch.config.provenance import Made
from kdsearch.errors import Refusal, unknown
from kdsearch.results import tables as results_tables
from kdsearch.results.front import best as best_of
from kdsearch.results.front import members
from kdsearch.storage.files import whole


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
    """Write OUTPUT/<trial>/{config.yaml, student.safetensors, metrics.json} for each; returns the folders.

    Raises Refusal, before anything is written, for a trial that is unfinished or whose student's file is damaged.
    """
    made = {trial: _made(folder, tables.trials[trial]) for trial in trials}
    return [_write(folder, tables.trials[trial], made[trial], output) for trial in trials]


def _made(folder: Path, row: dict) -> dict:
    weights = folder / "students" / f"{row['trial']}.safetensors"
    if row["state"] != "complete" and not weights.exists():
        cause = f" ({row['cause']})" if row["cause"] else ""
        raise Refusal(f"Only a fully trained trial can be exported, but trial {row['trial']} is {row['state']}{cause}.")
    from kdsearch.distill.store import read_facts

    made = read_facts(weights, "Its pipeline is in trials.parquet; the search must be run again to have the weights.")
    parse(Made, made, f"'made' in '{weights}'")
    parse(Pipeline, json.loads(row["pipeline"]), f"The pipeline of trial {row['trial']}")
    return made


def _write(folder: Path, row: dict, made: dict, output: Path) -> Path:
    target, weights = output / row["trial"], folder / "students" / f"{row['trial']}.safetensors"
    text = config_text(json.loads(row["pipeline"]), made, f"Trial {row['trial']} of the search '{folder.name}'.")
    columns = ("trial", "parameters", "compression", "training_parameters", "macs", "epochs", "kd_epochs", "seed")
    metrics = {name: row[name] for name in columns} | {"accuracy": made["accuracy"], "made": made}
    with whole(target) as draft:
        draft.mkdir()
        shutil.copyfile(weights, draft / "student.safetensors")
        (draft / "config.yaml").write_text(text, encoding="utf-8")
        (draft / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    return target


def config_text(pipeline: dict, made: dict, title: str) -> str:
    """A pipeline as YAML, with what made it: `kdsearch train` reads both."""
    head = f"# {title} Train it again:  kdsearch train config.yaml\n"
    return head + yaml.safe_dump(pipeline | {"made": made}, sort_keys=False, allow_unicode=True)


@dataclass(frozen=True)
class Recipe:
    """A config file: a pipeline, and what made it where it was exported."""

    pipeline: Pipeline
    made: Made | None


def read_config(path: Path) -> Recipe:
    """Read a config.yaml by the safe loader; raises Refusal."""
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(f"The config '{path}' cannot be read ({error}).") from None
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise Refusal(f"The config '{path}' is not YAML: {str(error).splitlines()[0]}{where}.") from None
    made = plain.pop("made", None) if isinstance(plain, dict) else None
    pipeline = parse(Pipeline, plain, f"The config '{path}'")
    return Recipe(pipeline, None if made is None else parse(Made, made, f"'made' in the config '{path}'"))
