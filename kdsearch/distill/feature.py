"""Losses of maps. A map is (N, C, H, W); where two differ in size, the larger is averaged to the smaller's."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from kdsearch.distill.exact import exact, unit

Side = tuple[int, int]

Pooling = Literal["average", "max"]


def smaller(one: Tensor, other: Tensor) -> Side:
    """The smaller height and width of two maps."""
    (height, width), (other_height, other_width) = one.shape[-2:], other.shape[-2:]
    return min(height, other_height), min(width, other_width)


def attention(maps: Tensor, side: Side | None = None) -> Tensor:
    """Where a map is active: the mean over channels of its squares, of length 1 for each image (Zagoruyko and Komodakis
    2017, section 3.1, F²sum in its code's form): (N, C, H, W) -> (N, *side). `side`: to which the map is averaged
    before."""
    maps = maps if side in (None, tuple(maps.shape[-2:])) else F.adaptive_avg_pool2d(maps, side)
    squares = torch.linalg.vector_norm(maps, dim=1).square() / maps.shape[1]  # one pass each way
    return unit(squares.flatten(1)).view_as(squares)


@exact
def attention_transfer(maps: Tensor, teacher: Tensor) -> Tensor:
    """AT: the mean squared difference of both attention maps (Zagoruyko and Komodakis 2017, equation 2 in the form of
    its code, to which a weight of 1000 belongs).

    teacher: a map, or its attention map at the smaller side, (N, H, W).
    """
    side = smaller(maps, teacher)
    return F.mse_loss(attention(maps, side), attention(teacher, side) if teacher.dim() == 4 else teacher)


def flow(first: Tensor, last: Tensor, pooling: Pooling = "average") -> Tensor:
    """What happens between two maps of a network: the products of their channels, averaged over the smaller one's
    pixels (Yim et al. 2017, equation 1): (N, A, …), (N, B, …) -> (N, A, B)."""
    pool = F.adaptive_avg_pool2d if pooling == "average" else F.adaptive_max_pool2d
    side = smaller(first, last)
    first, last = (one if tuple(one.shape[-2:]) == side else pool(one, side) for one in (first, last))
    return torch.bmm(first.flatten(2), last.flatten(2).transpose(1, 2)) / (side[0] * side[1])


@exact
def flow_transfer(
    maps: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor] | Tensor, pooling: Pooling = "average"
) -> Tensor:
    """FSP: the mean squared difference of both networks' flows between two maps (Yim et al. 2017, equation 2, as a mean
    over all elements).

    teacher: its two maps, or their flow, (N, A, B), whose channels must be the student's.
    """
    ours = flow(*maps, pooling)
    theirs = teacher if isinstance(teacher, Tensor) else flow(*teacher, pooling)
    if ours.shape != theirs.shape:
        raise ValueError(
            f"a flow of {tuple(ours.shape[1:])} channels is compared with one of {tuple(theirs.shape[1:])}."
        )
    return F.mse_loss(ours, theirs)
