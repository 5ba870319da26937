"""Trained networks by the hash of everything that made them, so that a teacher is trained once."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from kdsearch.config.pipeline import Pipeline
from kdsearch.errors import Refusal
from kdsearch.storage.bucket import Storage
from kdsearch.storage.files import whole

RECIPE = 2
"""Raised whenever training the same pipeline would give other weights."""

AGAIN = "Delete it, and it will be trained again."


def key_of(pipeline: Pipeline, number: int, fingerprint: str) -> str:
    """Of link `number` (from 0): hash of all links up to it, their seeds, the data and the recipe's version."""
    made_of = {
        "links": [link.model_dump(mode="json") for link in pipeline.links[: number + 1]],
        # The first link sees fresh views whatever the others see.
        "data": pipeline.data.model_dump(mode="json", exclude={"name"} if number else {"name", "views"}),
        "fingerprint": fingerprint,
        "recipe": RECIPE,
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]


def save_net(path: Path, net: nn.Module, facts: dict) -> None:
    """Weights and facts (plain data) in one safetensors file."""
    save_tensors(path, net.state_dict(), {"facts": json.dumps(facts)})


def save_tensors(path: Path, tensors: Mapping[str, Tensor], words: dict[str, str]) -> None:
    """A safetensors file, which is there whole or not at all; raises OSError."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with whole(path) as draft:
        try:
            save_file(plain, draft, words)
        except SafetensorError as error:  # of a disk that is full
            raise OSError(f"'{path}' could not be written: {error}") from error
        os.chmod(draft, 0o644)  # others on a shared disk read it too


def load_net(path: Path, net: nn.Module) -> dict:
    """Fill a network from a file and return its facts; raises Refusal where the file is damaged or of another net."""
    with _opened(path, AGAIN) as file:
        # Cloned, since the file's own memory would hold on to it; assigned, since the network may have none yet.
        weights = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (no mapping)
        net.load_state_dict(weights, assign=True)
        return json.loads(file.metadata()["facts"])


def read_facts(path: Path, mend: str = AGAIN) -> dict:
    """The facts saved beside the weights; raises Refusal, with the way to mend it, where the file is damaged."""
    with _opened(path, mend) as file:
        return json.loads(file.metadata()["facts"])


@contextmanager
def _opened(path: Path, mend: str) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise Refusal(f"The network file '{path}' is damaged ({reason}). {mend}") from error


def digest(net: nn.Module) -> str:
    """Hash of the weights."""
    return digest_of(net.state_dict())


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """Hash of tensors by their names."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(name.encode())
        # Flat first: a 1×1 kernel in the order of channels last counts as contiguous, but its last stride is not 1.
        plain = tensor.detach().cpu().contiguous().flatten()
        found.update(plain.view(torch.uint8).numpy().data)
    return found.hexdigest()[:16]


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
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder / f".{key}.lock")
