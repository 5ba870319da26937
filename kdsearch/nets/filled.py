"""A network filled with the weights of a file: all of them, or none."""

import difflib
import hashlib
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from kdsearch.config.net import Own
from kdsearch.errors import Refusal, first_line, listed
from kdsearch.storage import code

PREFIXES = ("module.", "_orig_mod.", "model.")
"""Of names of weights, by those who wrapped a network: DataParallel, torch.compile, trainers."""

INSIDE = ("state_dict", "model_state_dict", "model", "model_ema")
"""Keys under which files of checkpoints hold the weights."""

NAMED = 3
"""So many weights are named where some are missing."""


def weights_hash(path: Path) -> str:
    """Of a file of weights; raises Refusal where there is none."""
    try:
        stat = path.stat()
    except OSError as error:
        raise Refusal(f"Weights are read from a file, but '{path}' is none ({first_line(error)}).") from None
    return _hash(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=16)
def _hash(path: Path, size: int, changed: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def new_head(net: nn.Module, path: Path) -> str:
    """The submodule whose weights in a file are of other classes than the network's: it is to be drawn anew; empty
    where all fit. Raises Refusal where other weights do not fit."""
    weights, _ = _stripped(_read(path), net)
    own = net.state_dict()
    odd = [name for name in own if name in weights and own[name].shape != weights[name].shape]
    heads = {name.rpartition(".")[0] for name in odd}
    alike = all(own[name].shape[1:] == weights[name].shape[1:] for name in odd)
    if len(heads) == 1 and alike and own.keys() == weights.keys():
        return heads.pop()
    _check(path, own, weights)
    return ""


def filled(net: nn.Module, path: Path, head: str = "") -> list[str]:
    """Fill a network with the weights of a file (.safetensors, or .pt by weights_only); what was done to their names, a
    sentence each. `head`: the submodule that stays as it was drawn. Raises Refusal where a weight is missing, is not
    expected, or has another shape."""
    weights, said = _stripped(_read(path), net)
    own = net.state_dict()
    if head:
        weights |= {name: value for name, value in own.items() if name.startswith(f"{head}.")}
    _check(path, own, weights)
    net.load_state_dict(of_now(weights, net))
    return said


def of_now(weights: Mapping[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """Weights as a network takes them: files keep no versions of its parts, for which some ask, as MNASNet does."""
    found = OrderedDict(weights)
    vars(found)["_metadata"] = getattr(net.state_dict(), "_metadata", None)
    return found


def given(net: nn.Module, told: Own) -> list[str]:
    """Fill a user's network with the weights that its config names; what was done to their names, a sentence each.
    Raises Refusal for another file than that."""
    path = _at(Path(told.weights or ""), told.weights_hash)
    if told.weights_hash and weights_hash(path) != told.weights_hash:
        raise Refusal(
            f"A network has the weights that it began with, but those of '{path}' have changed since (hash "
            f"{told.weights_hash} then, {weights_hash(path)} now); bring them back, or start a new search."
        )
    return filled(net, path, told.head if told.new_head else "")


def _at(path: Path, told: str) -> Path:
    """Where a file of weights lies: there, or on a shelf."""
    copies = (shelf / told / path.name for shelf in code.SHELVES if told)
    return path if path.is_file() else next((copy for copy in copies if copy.is_file()), path)


def _check(path: Path, own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    missing, beyond = [name for name in own if name not in weights], [name for name in weights if name not in own]
    odd = [name for name in own if name in weights and own[name].shape != weights[name].shape]
    if not (missing or beyond or odd):
        return
    parts = [
        f"{len(names)} {what} ({', '.join(names[:NAMED])}{', …' if len(names) > NAMED else ''})"
        for names, what in ((missing, "missing"), (beyond, "not expected"), (odd, "of another shape"))
        if names
    ]
    near = f" The nearest to '{missing[0]}' there: {_nearest(missing[0], beyond)}." if missing and beyond else ""
    raise Refusal(
        f"A file fills all weights of its network, but of the {len(own)} of '{path}' {listed(parts)}.{near} Name "
        f"the code that these weights were made for."
    )


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        told = torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise Refusal(f"Weights are in a file, but '{path}' is {'a folder' if path.is_dir() else 'none'}.") from error
    except pickle.UnpicklingError as error:
        if not zipfile.is_zipfile(path) and path.read_bytes()[:1] != pickle.PROTO:
            raise Refusal(_no_weights(path)) from error
        raise Refusal(
            f"Weights are tensors by their names, but '{path}' holds more than tensors, such as a whole module, whose "
            f"code would be run; save net.state_dict(), where it comes from."
        ) from None
    except Exception:  # whatever a reader makes of bytes that are no weights
        raise Refusal(_no_weights(path)) from None
    for key in INSIDE:
        if isinstance(told, Mapping) and isinstance(told.get(key), Mapping):
            told = told[key]
    if not isinstance(told, Mapping) or not all(isinstance(value, Tensor) for value in told.values()):
        raise Refusal(f"Weights are tensors by their names, but '{path}' holds something else; save net.state_dict().")
    return dict(told)


def _no_weights(path: Path) -> str:
    return f"Weights are a .safetensors file, or a .pt that torch.save wrote, but '{path}' is neither, or damaged."


def _stripped(weights: dict[str, Tensor], net: nn.Module) -> tuple[dict[str, Tensor], list[str]]:
    """Without the prefixes that all names share and the network's do not."""
    said, own = [], set(net.state_dict())
    for _ in PREFIXES:
        for prefix in PREFIXES:
            if weights and not own & weights.keys() and all(name.startswith(prefix) for name in weights):
                weights = {name.removeprefix(prefix): value for name, value in weights.items()}
                said.append(f"the names of its weights began with '{prefix}', which was left out")
    return weights, said


def _nearest(name: str, there: list[str]) -> str:
    return next(iter(difflib.get_close_matches(name, there, n=1, cutoff=0.0)), there[0])
