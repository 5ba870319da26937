"""Losses of answers beyond plain distillation. Logits are (N, C); natural logarithms; means over the batch."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from kdsearch.distill.exact import exact, moved


def standardised(logits: Tensor) -> Tensor:
    """Each image's logits less their mean, divided by their standard deviation (Sun et al. 2024, equation 8; with
    C − 1 below the root, and 1e-7 added to it, as in their code).

    Equal logits stay at 0.
    """
    centred, told = moved(logits)
    deviation = (torch.where(told, centred, 1.0).square().sum(1, keepdim=True) / max(logits.shape[1] - 1, 1)).sqrt()
    return torch.where(told, centred / (deviation + 1e-7), 0.0)


def blended(told: Sequence[Tensor], temperature: float, weights: Tensor | None = None) -> Tensor:
    """Logits whose softmax at τ is the mean of several teachers' softened probabilities: by it the student gets the
    mean of the gradients that each would give. All (N, C), of one shape; weights: (K, N), by which they are weighed,
    image by image; of each image they sum to 1."""
    soft = torch.stack([F.log_softmax(logits / temperature, dim=1) for logits in told])
    if weights is None:
        return temperature * (soft.logsumexp(0) - math.log(len(told)))
    return temperature * (soft + weights[:, :, None].log()).logsumexp(0)


def surer(told: Sequence[Tensor]) -> Tensor:
    """Weights of several teachers for each image, (K, N), that sum to 1: (1 − H_k/ΣH)/(K − 1), where H is the entropy
    of a teacher's probabilities at temperature 1 (Kwon et al. 2020, as EBKD in the code of Zhang et al. 2022, which
    divides by K instead)."""
    plain = torch.stack([F.log_softmax(logits, dim=1) for logits in told])
    entropies = -(plain.exp() * plain).sum(2)
    whole = entropies.sum(0)
    unsure = torch.where(whole > 0, entropies / torch.where(whole > 0, whole, 1.0), 1 / len(told))
    return (1 - unsure) / (len(told) - 1)


@exact
def decoupled(
    logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float, alpha: float = 1.0, beta: float = 8.0
) -> Tensor:
    """DKD: τ²·(α·KL over {the label's class, all others} + β·KL among the others) (Zhao et al. 2022, equation 7).

    labels: (N,) integers. In logarithms throughout, so that no probability underflows; of two classes the second part
    is 0.
    """
    student, teacher = logits / temperature, teacher_logits / temperature
    places = torch.arange(logits.shape[1] - 1, device=logits.device).expand(len(logits), -1)
    others = places + (places >= labels[:, None])

    def parted(scores: Tensor) -> tuple[Tensor, Tensor]:
        true, rest = scores.gather(1, labels[:, None]), scores.gather(1, others)
        return torch.cat((true, rest.logsumexp(1, keepdim=True)), 1).log_softmax(1), rest.log_softmax(1)

    (ours, ours_rest), (theirs, theirs_rest) = parted(student), parted(teacher)
    target = F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
    rest = F.kl_div(ours_rest, theirs_rest, reduction="batchmean", log_target=True)
    return (alpha * target + beta * rest) * temperature**2


@exact
def correlated(
    logits: Tensor, teacher_logits: Tensor, temperature: float, between: float = 1.0, within: float = 1.0
) -> Tensor:
    """DIST: τ²·(between·(1 − mean correlation of the images' probabilities) + within·(1 − that of the classes')), where
    the paper has β and gamma (Huang et al. 2022, equations 6 to 10; 1e-8 is added to the product of lengths, as in
    their code).

    What is constant correlates with nothing.
    """
    ours, theirs = ((scores / temperature).softmax(1) for scores in (logits, teacher_logits))
    rows, columns = _correlation(ours, theirs).mean(), _correlation(ours.T, theirs.T).mean()
    return (between * (1 - rows) + within * (1 - columns)) * temperature**2


def _correlation(ours: Tensor, theirs: Tensor) -> Tensor:
    """Pearson's, of each row: (N, C), (N, C) -> (N, 1)."""
    (ours, told), (theirs, _) = moved(ours), moved(theirs)
    ours = torch.where(told, ours, 0.0)
    lengths = torch.where(told, ours, 1.0).norm(dim=1, keepdim=True) * theirs.norm(dim=1, keepdim=True)
    return (ours * theirs).sum(1, keepdim=True) / (lengths + 1e-8)
