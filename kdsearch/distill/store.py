"""Trained networks by the hash of everything that made them, so that a teacher is trained once."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from kdsearch.config.datasets import Shape
from kdsearch.config.methods import OwnTerm
from kdsearch.config.net import AnyNet, Own
from kdsearch.config.pipeline import Link, Pipeline
from kdsearch.config.provenance import RECIPE
from kdsearch.distill.weights import digest_of, save_tensors
from kdsearch.errors import Refusal, first_line
from kdsearch.nets.build import build
from kdsearch.nets.filled import of_now
from kdsearch.storage.bucket import Storage
from kdsearch.storage.locks import lock

WEIGHTS = "weights"
"""The hash of a file's weights, beside its facts."""

AGAIN = "Delete it, and it will be trained again."


def key_of(pipeline: Pipeline, number: int, fingerprint: str) -> str:
    """Of link `number` (from 0): hash of its place, of all links on which it depends, their seeds, the data and the
    recipe's version."""
    used = {number, *pipeline.before(number)}
    made_of = {
        "links": [_of(link) if own in used else None for own, link in enumerate(pipeline.links[: number + 1])],
        # A link that nobody teaches sees fresh views whatever the others see.
        "data": pipeline.data.model_dump(
            mode="json", exclude={"name"} if pipeline.teachers(number) else {"name", "views"}
        ),
        "fingerprint": fingerprint,
        "recipe": RECIPE,
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]


def _of(link: Link) -> dict[str, Any]:
    """A link as plain data; files of a user's own are known by their hashes, wherever they lie."""
    plain = link.model_dump(mode="json")
    if isinstance(link.net, Own):
        plain["net"] |= {"factory": link.net.called, "weights": None}
    for written, term in zip(plain.get("terms", ()), link.terms, strict=True):
        if isinstance(term, OwnTerm):
            written["term"] = term.called
    return plain


def save_net(path: Path, net: nn.Module, facts: dict) -> None:
    """Weights, their hash and facts (plain data) in one safetensors file."""
    tensors = dict(sorted(net.state_dict().items()))
    # In one place: of several the library keeps no order, and equal networks are equal files.
    save_tensors(path, tensors, {"facts": json.dumps(facts | {WEIGHTS: digest_of(tensors)})})


def load_net(path: Path, net: nn.Module, mend: str = AGAIN) -> dict:
    """Fill a network from a file and return its facts; raises Refusal where the file is damaged or of another net."""
    with _opened(path, mend) as file:
        # Cloned, since the file's own memory would hold on to it; assigned, since the network may have none yet.
        facts, weights = _checked(file)
        net.load_state_dict(of_now(weights, net), assign=True)
        return facts


def restored(net: AnyNet, path: Path, image: Shape, classes: int, mend: str = AGAIN) -> nn.Module:
    """A network with the weights of its file, on the CPU; the caller's random numbers stay. Raises Refusal where the
    file is damaged."""
    # Weights that are replaced at once need not be drawn; a user's own may hold more than its file.
    with torch.device("cpu" if isinstance(net, Own) else "meta"), torch.random.fork_rng([]):
        found = build(net, image, classes)
    load_net(path, found, mend)
    return found


def check_net(path: Path, mend: str = AGAIN) -> dict:
    """The facts of a network whose weights are those that were written; raises Refusal where they are not."""
    with _opened(path, mend) as file:
        return _checked(file)[0]


def _checked(file: Any) -> tuple[dict, dict[str, Tensor]]:
    """Facts and weights; raises ValueError where these have another hash than is told (older files tell none)."""
    facts = json.loads(file.metadata()["facts"])
    weights = {name: file.get_tensor(name).clone() for name in sorted(file.keys())}
    if facts.pop(WEIGHTS, None) not in (None, digest_of(weights)):
        raise ValueError("its weights are not those that were written")
    return facts, weights


def read_facts(path: Path, mend: str = AGAIN) -> dict:
    """The facts saved beside the weights; raises Refusal, with the way to mend it, where the file is damaged."""
    with _opened(path, mend) as file:
        facts = json.loads(file.metadata()["facts"])
        facts.pop(WEIGHTS, None)
        return facts


@contextmanager
def _opened(path: Path, mend: str) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise Refusal(f"The network file '{path}' is damaged ({first_line(error)}). {mend}") from error


class Store:
    """A folder of networks, shared by searches and by the processes of one."""

    def __init__(self, folder: Path, storage: Storage | None = None) -> None:
        self.folder = folder
        self.storage = storage or Storage(folder)

    def path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"

    def checkpoint(self, key: str) -> Path:
        """Where a network in training is kept, so that whoever makes it next goes on."""
        return self.folder / "checkpoints" / f"{key}.safetensors"

    def __contains__(self, key: str) -> bool:
        return self.path(key).exists() or self.storage.pull(self.path(key))

    def save(self, key: str, net: nn.Module, facts: dict) -> None:
        """A network that others may use from now on."""
        save_net(self.path(key), net, facts)
        self.storage.push(self.path(key))

    def lock(self, key: str) -> AbstractContextManager:
        """Held while a network is looked up and made: who comes second waits, then finds it."""
        return lock(self.folder / f".{key}.lock")
