"""A trial -> the deployed student's weights and the config that runs it again, to the same number."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml

from kdsearch import results
from kdsearch.config import Pipeline
from kdsearch.errors import Refusal, unknown
from kdsearch.front import best as best_of
from kdsearch.front import members
from kdsearch.made import Made
from kdsearch.parsing import parse


def chosen(tables: results.Tables, trial: str | None, best: str | None, front: bool) -> list[str]:
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


def export(folder: Path, tables: results.Tables, trial: str, output: Path) -> Path:
    """Write OUTPUT/<trial>/{config.yaml, student.safetensors, metrics.json}; raises Refusal for an unfinished trial."""
    row = tables.trials[trial]
    weights = folder / "students" / f"{trial}.safetensors"
    if row["state"] != "complete" and not weights.exists():
        cause = f" ({row['cause']})" if row["cause"] else ""
        raise Refusal(f"Only a fully trained trial can be exported, but trial {trial} is {row['state']}{cause}.")
    from kdsearch.store import read_facts

    made = read_facts(weights)
    pipeline = json.loads(row["pipeline"])
    target = output / trial
    draft = output / f".{trial}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    shutil.copyfile(weights, draft / "student.safetensors")
    (draft / "config.yaml").write_text(config_text(pipeline, made, f"Trial {trial} of the search '{folder.name}'."))
    columns = ("accuracy", "parameters", "compression", "training_parameters", "macs", "epochs", "kd_epochs", "seed")
    metrics = {name: row[name] for name in columns} | {"trial": trial, "accuracy": made["accuracy"], "made": made}
    (draft / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    shutil.rmtree(target, ignore_errors=True)
    draft.rename(target)
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
    except yaml.YAMLError as error:
        raise Refusal(f"The config '{path}' is not YAML: {str(error).splitlines()[0]}.") from None
    made = plain.pop("made", None) if isinstance(plain, dict) else None
    pipeline = parse(Pipeline, plain, f"The config '{path}'")
    return Recipe(pipeline, None if made is None else parse(Made, made, f"'made' in the config '{path}'"))
