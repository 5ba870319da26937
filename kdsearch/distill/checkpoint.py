"""A link in training, kept on disk at epoch ends so that another process can go on from there."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from kdsearch.distill.terms import Lesson
from kdsearch.distill.weights import digest_of, save_tensors
from kdsearch.errors import first_line, nobody
from kdsearch.interrupts import never
from kdsearch.storage.bucket import Storage

EVERY = 30.0
"""Seconds after which the next epoch's end is kept, beside stage ends and milestones."""


class Paused(Exception):
    """Somebody asked to stop: the link is on disk as it is, and has not ended."""


@dataclass(frozen=True)
class Keeping:
    """When links are kept."""

    milestones: tuple[int, ...] = ()
    """KD epochs after which a student is judged."""
    stopping: Callable[[], bool] = never
    """Asked at every epoch's end."""
    storage: Storage = field(default_factory=lambda: Storage(Path()))
    """Where they are found by another machine."""

    def of(self, path: Path, key: str, tell: Callable[[str], None] = nobody) -> "Checkpoint":
        """The checkpoint of one link; `key` is its recipe's; `tell` hears of one that is damaged."""
        return Checkpoint(path, key, self, tell)


@dataclass(frozen=True)
class Snapshot:
    """A link at an epoch's end. All randomness is drawn anew each epoch, so that this is all it depends on."""

    stage: int
    """Its number within the link, from 0."""
    past: int
    """Epochs of that stage that are done."""
    rows: list[dict]
    """What all epochs of the link showed by then."""
    tensors: dict[str, Tensor]

    def fill(self, net: nn.Module) -> None:
        """Put the network's tensors back."""
        _put_back(_named(net), self.tensors)

    def past_of(self, order: int, lesson: Lesson, steps: torch.optim.Optimizer) -> int:
        """Epochs of a stage that are done; where it is the one at work, what trains and its optimiser are put back."""
        if order != self.stage:
            return lesson.stage.epochs if order < self.stage else 0
        if self.past < lesson.stage.epochs:
            _put_back(_named(lesson.trained, "trained."), self.tensors)
            for number, weight in enumerate(_weights(steps)):
                start = f"optimizer.{number}."
                for name in (name for name in self.tensors if name.startswith(start)):
                    steps.state[weight][name.removeprefix(start)] = _like(weight, self.tensors[name])
        return self.past


def _named(module: nn.Module, start: str = "net.") -> Iterator[tuple[str, Tensor]]:
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        yield start + name, tensor


def _put_back(named: Iterator[tuple[str, Tensor]], tensors: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in named:
            if name in tensors:  # what trains and is part of the network is kept once, as that
                tensor.copy_(tensors[name])


def _like(weight: Tensor, value: Tensor) -> Tensor:
    """On the weight's device and in its memory order: fused optimisers walk through memory."""
    place = torch.empty_like(weight) if value.shape == weight.shape else torch.empty_like(value, device=weight.device)
    return place.detach().copy_(value)


def _weights(steps: torch.optim.Optimizer) -> list[Tensor]:
    return [weight for group in steps.param_groups for weight in group["params"]]


def _digest(tensors: dict[str, Tensor], told: dict) -> str:
    """A network would learn on from damaged weights without a word."""
    return digest_of(tensors) + hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


@dataclass
class Checkpoint:
    """The newest snapshot of one link."""

    path: Path
    key: str
    keeping: Keeping
    tell: Callable[[str], None] = nobody
    rows: list[dict] = field(default_factory=list)
    paused: bool = False
    saved: float = field(default_factory=time.monotonic)

    def read(self) -> Snapshot | None:
        """Where to go on; None: at the beginning, as there is none, or one that is damaged, which is told, or of
        another recipe."""
        if not self.keeping.storage.pull(self.path):
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                told = json.loads(file.metadata()["checkpoint"])
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (no mapping)
            found = Snapshot(told["stage"], told["past"], told["rows"], tensors)
            if told.pop("digest") != _digest(tensors, told):
                raise ValueError("its weights are not those that were written")
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
            self.tell(f"The checkpoint '{self.path}' is damaged ({first_line(error)}); its network begins anew.")
            return None
        if told["key"] != self.key:
            return None
        self.rows = list(found.rows)
        return found

    def offer(self, row: dict, order: int, lesson: Lesson, steps: torch.optim.Optimizer, ended: bool) -> None:
        """An epoch is done, and kept where that is due; the link's last one never: the network itself is saved."""
        self.rows.append(row)
        if ended:
            return
        stage = lesson.stage
        past = sum(own["stage"] == stage.name for own in self.rows)
        self.paused = self.keeping.stopping()
        late = time.monotonic() - self.saved > EVERY
        if past == stage.epochs or late or self.paused or row["kd_epoch"] in self.keeping.milestones:
            self._save(order, past, lesson, steps)
            self.saved = time.monotonic()

    def _save(self, order: int, past: int, lesson: Lesson, steps: torch.optim.Optimizer) -> None:
        net = lesson.net
        tensors = dict(_named(net))
        if past < lesson.stage.epochs:
            whole = set(map(id, net.parameters())) | set(map(id, net.buffers()))
            tensors |= {name: own for name, own in _named(lesson.trained, "trained.") if id(own) not in whole}
            for number, weight in enumerate(_weights(steps)):
                own = {name: value for name, value in steps.state[weight].items() if isinstance(value, Tensor)}
                tensors |= {f"optimizer.{number}.{name}": value for name, value in own.items()}
        told = {"key": self.key, "stage": order, "past": past, "rows": self.rows}
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_tensors(self.path, tensors, {"checkpoint": json.dumps(told | {"digest": _digest(tensors, told)})})
        self.keeping.storage.push(self.path)

    def remove(self) -> None:
        """The link has ended."""
        self.keeping.storage.remove(self.path)
