"""What the losses of the later methods share: they are computed exactly, and say nothing where nothing can be said."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import torch
from torch import Tensor

Told = ParamSpec("Told")


def exact(loss: Callable[Told, Tensor]) -> Callable[Told, Tensor]:
    """A loss whose first two arguments are what student and teacher show, each a tensor or a tuple of them: computed in
    float32 at least, whatever networks multiply in, and without a way back to the teacher."""

    @wraps(loss)
    def computed(*told: Told.args, **more: Told.kwargs) -> Tensor:
        ours, theirs, *rest = told
        with torch.autocast(_device(ours), enabled=False):
            return loss(_each(_precise, ours), _each(lambda one: _precise(one.detach()), theirs), *rest, **more)  # pyright: ignore[reportCallIssue]

    return computed


def _each(change: Callable[[Tensor], Tensor], shown: Any) -> Any:
    return change(shown) if isinstance(shown, Tensor) else tuple(change(one) for one in shown)


def _device(shown: Any) -> str:
    return shown.device.type if isinstance(shown, Tensor) else shown[0].device.type


def _precise(one: Tensor) -> Tensor:
    return one if one.dtype == torch.float64 else one.float()


def unit(rows: Tensor, floor: Tensor | float = 1e-12) -> Tensor:
    """Each row (the last dimension) divided by its length; one that is no longer than `floor` has no direction: it is 0
    and has no gradient, which would grow beyond all bounds there."""
    squares = rows.square().sum(-1, keepdim=True)
    long = squares > floor**2
    return torch.where(long, rows / torch.where(long, squares, 1.0).sqrt(), 0.0)


def moved(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Each row (the last dimension) less its mean; and which of them, (…, 1), are no constants up to rounding."""
    centred = rows - rows.mean(-1, keepdim=True)
    size, spread = (one.detach().norm(dim=-1, keepdim=True) for one in (rows, centred))
    return centred, spread > 1e-6 * size
