"""The papers' equations: tensors in, a scalar tensor out. Natural logarithms, means over the batch."""

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Of the true classes. logits: (N, C); labels: (N,) integers."""
    return F.cross_entropy(logits, labels)


def distillation(logits: Tensor, teacher_logits: Tensor, temperature: float, squared: bool = True) -> Tensor:
    """τ²·KL(softmax(teacher/τ) ‖ softmax(student/τ)), summed over classes (Hinton et al. 2015, section 2).

    Both (N, C). The factor τ² keeps the gradient's size when τ changes; not `squared`, it is left out (FitNets).
    """
    student = F.log_softmax(logits / temperature, dim=1)
    teacher = F.log_softmax(teacher_logits / temperature, dim=1)
    # "batchmean" divides by N; torch's default would also divide by C.
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True) * (temperature**2 if squared else 1)


def virtual(labels: Tensor, classes: int, true: float) -> Tensor:
    """Logits of the hand-made teacher that gives the true class the probability `true` and every other one an equal
    part of the rest (Yuan et al. 2020, equation 9).

    labels: (N,) integers -> (N, C). At temperature 1 it is label smoothing's target.
    """
    answer = torch.full((len(labels), classes), (1 - true) / (classes - 1), device=labels.device)
    return answer.scatter_(1, labels[:, None], true).log_()


def hint(regressed: Tensor, target: Tensor) -> Tensor:
    """Mean squared error over all elements (Romero et al. 2015, equation 3, without its ½ and as a mean).

    Both (N, C, H, W) of the same shape; raises ValueError otherwise, since broadcasting would hide a wrong pair.
    """
    if regressed.shape != target.shape:
        raise ValueError(f"a hint's map has shape {tuple(target.shape)}, the regressor's {tuple(regressed.shape)}.")
    return F.mse_loss(regressed, target)
