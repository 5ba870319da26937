"""A trained student to use: from an export, or from its search."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdsearch.config.net import Own
from kdsearch.config.parse import parse
from kdsearch.config.pipeline import Pipeline
from kdsearch.config.provenance import Made
from kdsearch.data import single
from kdsearch.data.look import Look, Style
from kdsearch.distill.store import check_net, restored
from kdsearch.errors import Refusal
from kdsearch.nets.cut import as_it_was
from kdsearch.nets.whole import Whole, backwards
from kdsearch.results import files
from kdsearch.search.networks import bring
from kdsearch.search.recipe import read_config
from kdsearch.storage.bucket import Storage

AT_ONCE = 1000
"""Pictures that a network answers together."""

TOGETHER = ("student.safetensors", "config.yaml")
"""Files of an export that belong to each other."""

MEND = "Export it again (kdsearch export)."


class Deployed(nn.Module):
    """A trained student in evaluation mode, float32: normalised images (N, C, H, W) -> logits (N, classes)."""

    def __init__(self, net: nn.Module, pipeline: Pipeline, made: Made, card: Mapping[str, Any]) -> None:
        super().__init__()
        student = pipeline.student.net
        self.whole = Whole(net, made.mean, made.std, backwards(student))
        """uint8 (N, C, H, W), 0–255, red first -> logits: the normalisation is inside."""
        self.classes = made.classes
        """Their names, by the place of their logit."""
        self.image = made.image
        """Channels, height and width of an image as it sees it."""
        self.card = dict(card)
        """What is known of it: of an export what its card.json says."""
        self._data = pipeline.data.name
        eye = student.eye if isinstance(student, Own) else None
        channels, height, width = made.image
        style = Style(channels == 1, made.range)
        self._look = Look((width, height), style, eye and eye.resize, eye.crop if eye else 1.0)
        self._colour = channels == 3 or bool((eye and eye.channels) or pipeline.data.channels)
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        return self.whole.net(images)

    def pixels(self, image: Any) -> Tensor:
        """A path, a picture of Pillow's or a uint8 array (H, W[, C]) as bytes: uint8 (C, H, W), scaled and cropped as
        the images that it learned from. Raises Refusal."""
        return single.pixels(image, self._look, self._data, self._colour)

    def preprocess(self, image: Any) -> Tensor:
        """The same, normalised, on the network's device: what it reads, float32 (C, H, W). Raises Refusal."""
        return self.whole.normalised(self.pixels(image)[None].to(self.whole.scale.device))[0]

    def predict(self, image: Any) -> list[tuple[str, float]]:
        """All classes with their probabilities, the likeliest first. Raises Refusal."""
        return next(self.predictions([image]))

    def predictions(self, images: Iterable[Any]) -> Iterator[list[tuple[str, float]]]:
        """The same of many, some at a time. Raises Refusal."""
        rest, broken = iter(images), None
        while broken is None:
            some: list[Tensor] = []
            for image in islice(rest, AT_ONCE):
                try:
                    some.append(self.preprocess(image))
                except Refusal as error:  # after the answers about those before it
                    broken = error
                    break
            if not some:
                break
            for one in self._answers(torch.stack(some)):
                places = one.argsort(descending=True, stable=True).tolist()
                yield [(self.classes[place], float(one[place])) for place in places]
        if broken is not None:
            raise broken

    def _answers(self, found: Tensor) -> Tensor:
        """Probabilities, float64 on the CPU; in evaluation mode, whatever the module is in."""
        with as_it_was(self), torch.inference_mode():
            return self.eval()(found.to(memory_format=torch.channels_last)).double().softmax(1).cpu()


def load(path: str | Path) -> Deployed:
    """A student that was exported, by the folder of its export. Raises Refusal where files are missing or damaged."""
    folder = Path(path)
    if not (folder / "config.yaml").is_file():
        raise Refusal(
            f"A student is loaded from a folder that `kdsearch export` wrote, but '{folder}' has no config.yaml; "
            f"kdsearch.open(SEARCH).load(TRIAL) takes it from a search."
        )
    _check_sums(folder)
    recipe = read_config(folder / "config.yaml")
    if recipe.made is None:
        raise Refusal(f"'{folder / 'config.yaml'}' does not say what its student saw (made); {MEND}")
    return made_of(recipe.pipeline, recipe.made, folder / "student.safetensors", _card(folder), MEND)


def _check_sums(folder: Path) -> None:
    """Raises Refusal where weights and recipe are not those that were exported together."""
    told = _read(folder / "metrics.json") or {}
    sums = told.get("files")
    for name, known in sums.items() if isinstance(sums, dict) else ():
        path = folder / name
        if name in TOGETHER and path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != known:
            raise Refusal(f"'{path}' is damaged, or of another export: metrics.json beside it has another sum. {MEND}")


def _read(path: Path) -> dict[str, Any] | None:
    """None where there is no such file; raises Refusal where it is damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise Refusal(f"'{path}' is damaged ({error}). {MEND}") from None
    if not isinstance(found, dict):
        raise Refusal(f"'{path}' is damaged (no JSON object). {MEND}")
    return found


def _card(folder: Path) -> dict[str, Any]:
    """Of an older export, which has none, its metrics."""
    return _read(folder / "card.json") or _read(folder / "metrics.json") or {}


def of_trial(folder: Path, storage: Storage, row: Mapping[str, Any]) -> Deployed:
    """The student of a trial of a search. Raises Refusal where there is none."""
    pipeline, made = told(folder, row)
    bring(pipeline, storage)
    known = ("trial", "parameters", "compression", "macs", "epochs", "seed")
    card = {name: row[name] for name in known} | {"accuracy": made.accuracy, "search": folder.resolve().name}
    return made_of(pipeline, made, files.weights(folder, "students", row["trial"]), card)


def told(folder: Path, row: Mapping[str, Any]) -> tuple[Pipeline, Made]:
    """A fully trained trial's pipeline, and what made it. Raises Refusal where it has no student, or a damaged one."""
    weights = files.weights(folder, "students", row["trial"])
    if row["state"] != "complete" and not weights.exists():
        cause = f" ({row['cause']})" if row["cause"] else ""
        raise Refusal(f"Only a fully trained trial has a student, but trial {row['trial']} is {row['state']}{cause}.")
    made = check_net(weights, "Its pipeline is in trials.parquet; the search must be run again to have the weights.")
    pipeline = parse(Pipeline, json.loads(row["pipeline"]), f"The pipeline of trial {row['trial']}")
    return pipeline, parse(Made, made, f"'made' in '{weights}'")


def made_of(
    pipeline: Pipeline, made: Made, weights: Path, card: Mapping[str, Any], mend: str = "The search must be run again."
) -> Deployed:
    """A student with its trained weights. Raises Refusal."""
    if not weights.is_file():
        raise Refusal(f"There is no '{weights}'. {mend}")
    net = restored(pipeline.student.net, weights, made.image, len(made.classes), mend)
    return Deployed(net, pipeline, made, card)
