"""Weights: their hash, their files, and a trained link whose weights are read once somebody asks for them."""

import hashlib
import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from kdsearch.errors import Refusal
from kdsearch.storage.files import whole


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


def save_tensors(path: Path, tensors: Mapping[str, Tensor], words: dict[str, str]) -> None:
    """A safetensors file, which is there whole or not at all; raises OSError."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with whole(path) as draft:
        save_file(plain, draft, words)
        os.chmod(draft, 0o644)  # others on a shared disk read it too


class Taught:
    """A trained link: its facts, and its network once somebody asks for it."""

    def __init__(self, facts: dict, load: Callable[[], nn.Module], names: tuple[str, ...] | None = None) -> None:
        """`names`: of a user's own network, its taps."""
        self.facts = facts
        self.names = names
        self._load = load

    @cached_property
    def net(self) -> nn.Module:
        """In eval mode, without gradients."""
        return self._load().eval().requires_grad_(False)

    def check(self) -> None:
        """Raises Refusal where a network that teaches has changed: its answers would be another's."""
        if "net" in vars(self) and digest(self.net) != self.facts["digest"]:
            raise Refusal(
                "A teacher stays as it is, but its weights or statistics moved while it answered; in evaluation mode "
                "its forward pass must change nothing."
            )

    @property
    def key(self) -> str:
        """Of these weights."""
        return f"{self.facts['key']}-{self.facts['digest']}"
