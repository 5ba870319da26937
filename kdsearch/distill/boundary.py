"""Images at the boundary between two classes of a teacher, and what a student says there (Heo et al. 2019, "Knowledge
Distillation with Adversarial Samples Supporting Decision Boundary")."""

from collections.abc import Callable

import torch
from torch import Tensor

from kdsearch.distill.exact import unit
from kdsearch.distill.losses import distillation
from kdsearch.nets.derived import Views

STEP, BEYOND = 0.30000001192092896, 1e-4
"""Of a difference of logits that one step goes, 0.3 in single precision; and what is added to the difference, so that
the boundary is crossed: both as in their code."""

GOLDEN = (5**0.5 - 1) / 2
"""Its multiples, less their whole parts, are spread evenly over 0–1."""


def based(logits: Tensor, teacher_logits: Tensor, labels: Tensor, most: int) -> Tensor:
    """The images from which attacks begin, (M,) of N with M ≤ `most`: both networks are right, and their probabilities
    of the other classes differ most (section 3.3, equation 8). Logits: (N, C)."""
    right = (logits.argmax(1) == labels) & (teacher_logits.argmax(1) == labels)
    apart = (teacher_logits.float().softmax(1) - logits.float().softmax(1)).square()
    score = apart.sum(1) - apart.gather(1, labels[:, None])[:, 0]
    ranked = torch.where(right, score, -1.0).argsort(descending=True, stable=True)
    return ranked[: min(most, int(right.sum()))]


def aimed(teacher_logits: Tensor, uniform: Tensor) -> Tensor:
    """The class that each attack aims at, (N,): any but the teacher's first, with its probability (section 3.3,
    equation 9). teacher_logits: (N, C); uniform: (N,) drawn from 0–1."""
    chances, classes = teacher_logits.float().softmax(1).sort(dim=1, descending=True, stable=True)
    sums = chances[:, 1:].cumsum(1)
    place = (sums < uniform[:, None] * chances[:, 1:].sum(1, keepdim=True)).sum(1)
    return classes[:, 1:].gather(1, place.clamp(max=sums.shape[1] - 1)[:, None])[:, 0]


def attacked(
    net: Callable[[Tensor], Tensor],
    images: Tensor,
    first: Tensor,
    aim: Tensor,
    steps: int,
    bounds: tuple[Tensor, Tensor],
) -> Tensor:
    """Images moved until the net takes them for another class than their `first` one, at most `steps` times: along the
    gradient of aim − first, by STEP of what is lacking (section 3.2, equation 7).

    images: (N, C, H, W); first and aim: (N,) classes; bounds: the least and the largest value of a pixel, one or one a
    channel, (C, 1, 1). Nothing is left for a backward pass.
    """
    images = images.detach()
    with torch.enable_grad():
        for _ in range(steps):
            some = images.clone().requires_grad_()
            logits = net(some)
            lacking = (logits.gather(1, first[:, None]) - logits.gather(1, aim[:, None]))[:, 0]
            (slope,) = torch.autograd.grad(-lacking.sum(), some)
            far = STEP * (lacking.detach().to(images.dtype) + BEYOND)
            moved = images + far[:, None, None, None] * unit(slope.flatten(1)).view_as(images)
            still = logits.detach().argmax(1) == first
            images = torch.where(still[:, None, None, None], moved.clamp(*bounds), images)
    return images


def moved_once(net: Callable[[Tensor], Tensor], views: Views, steps: int) -> Tensor:
    """Each image moved from the class that the net has for it towards one other, drawn by the image's number; then the
    net's logits of it as it is kept, in half precision: (N, pixels + C). Whoever asks again about the same numbers gets
    the same."""
    logits = net(views.pixels).float()
    uniform = (views.samples.to(logits.device).double() * GOLDEN % 1).float()
    first, aim = logits.argmax(1), aimed(logits, uniform)
    pixels = attacked(net, views.pixels, first, aim, steps, views.bounds).half().to(views.pixels.dtype)
    return torch.cat((pixels.flatten(1).float(), net(pixels).float()), 1)


def supported(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """BSS: KL(softmax(teacher/τ) ‖ softmax(student/τ)) of attacked images, without τ² (section 3.4, equation 10).

    Their code takes the cross-entropy, which is larger by the teacher's entropy and has the same gradient.
    """
    return distillation(logits, teacher_logits.detach(), temperature, squared=False)
