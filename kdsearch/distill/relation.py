"""Losses of how the images of a batch lie to each other. Rows are images; what they hold may differ in width."""

import torch
import torch.nn.functional as F
from torch import Tensor

from kdsearch.distill.exact import exact, unit

NEAR = 1e-6
"""Two rows no farther apart than so much of the greatest distance are equal: there is no direction between them."""


@exact
def similarity(ours: Tensor, theirs: Tensor) -> Tensor:
    """SP: the squared differences of both networks' similarities, by N²: similarities are the products of all pairs of
    images, each image's of length 1 (Tung and Mori 2019, equations 1 to 4).

    Both (N, …), of maps or of embeddings.
    """
    return F.mse_loss(_similarities(ours), _similarities(theirs))


def _similarities(shown: Tensor) -> Tensor:
    rows = shown.flatten(1)
    return unit(rows @ rows.T)


@exact
def distances(ours: Tensor, theirs: Tensor) -> Tensor:
    """RKD-D: the smooth L1 difference of all distances between two images, in units of their mean (Park et al. 2019,
    equations 5 to 7; the mean over all N² of their code).

    Both (N, …).
    """
    return F.smooth_l1_loss(_distances(ours), _distances(theirs))


def _distances(shown: Tensor) -> Tensor:
    rows, count = shown.flatten(1), len(shown)
    # By differences, not by products: these would cancel far from 0, and where rows are equal their root has no slope.
    found = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    mean = found.sum() / max(count * (count - 1), 1)
    return found / torch.where(mean > 0, mean, 1.0)


@exact
def angles(ours: Tensor, theirs: Tensor) -> Tensor:
    """RKD-A: the smooth L1 difference of the cosines of all angles between two images as seen from a third (Park et
    al. 2019, equations 8 to 10; the mean over all N³ of their code).

    Both (N, …). Between equal rows there is no direction, and no gradient.
    """
    return F.smooth_l1_loss(_angles(ours), _angles(theirs))


def _angles(shown: Tensor) -> Tensor:
    rows = shown.flatten(1)
    steps = rows[None] - rows[:, None]
    directions = unit(steps, steps.detach().norm(dim=-1).max() * NEAR)
    return torch.bmm(directions, directions.transpose(1, 2))


@exact
def probabilities(ours: Tensor, theirs: Tensor) -> Tensor:
    """PKT: the mean over all pairs of p·log(p/q), where p and q are the probabilities, in teacher and student, that an
    image has the other for a neighbour: (1 + cosine)/2, each image's divided by their sum (Passalis and Tefas 2018,
    equations 4 to 6; 1e-7 is added to lengths and probabilities, as in their code).

    Both (N, …).
    """
    p, q = _neighbours(theirs), _neighbours(ours)
    return (p * ((p + 1e-7) / (q + 1e-7)).log()).mean()


def _neighbours(shown: Tensor) -> Tensor:
    rows = shown.flatten(1)
    lengths = rows.detach().norm(dim=1, keepdim=True)
    there = lengths > 1e-12
    rows = torch.where(there, rows, 0.0)
    rows = rows / (torch.where(there, rows, 1.0).norm(dim=1, keepdim=True) + 1e-7)
    nearness = (1 + rows @ rows.T) / 2
    return nearness / nearness.sum(1, keepdim=True)
