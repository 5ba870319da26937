"""Losses of networks that learn from each other while they train. Logits are (N, C) in float32; teachers among them are
those of this step, without a way back."""

from collections.abc import Sequence

import torch
from torch import Tensor

from kdsearch.config.companions import BESIDE, BYOT, DML, ONE
from kdsearch.config.pipeline import Link
from kdsearch.distill.losses import cross_entropy, distillation
from kdsearch.distill.shown import Shown, Term
from kdsearch.nets.beside import Beside


def terms(link: Link) -> tuple[Term, ...]:
    """What companions learn from labels, and what all learn from each other; none where there are none, or one peer."""
    told, logits = link.companions, link.net.layers + 1
    if told is None or (isinstance(told, DML) and told.peers == 1):
        return ()
    reads, labels = (*link.begins, logits), 1 - told.weight if isinstance(told, BYOT) else 1.0

    def others(shown: Shown) -> Tensor:
        return sum_of([cross_entropy(one, shown.labels) for one in _others(told, shown.ours[logits], _said(shown))])

    def value(shown: Shown) -> Tensor:
        return _taught(told, shown.ours[logits], _said(shown))

    return (
        Term(BESIDE[told.method], labels, others, reads, beside=True),
        Term(told.method, told.weight, value, reads, beside=True),
    )


def _said(shown: Shown) -> Beside:
    assert shown.beside is not None
    return shown.beside


def _others(told: DML | ONE | BYOT, own: Tensor, said: Beside) -> Sequence[Tensor]:
    """Whose labels count, beside the network's own."""
    return (*said.logits, ensemble((own, *said.logits), _gate(said))) if isinstance(told, ONE) else said.logits


def _taught(told: DML | ONE | BYOT, own: Tensor, said: Beside) -> Tensor:
    if isinstance(told, DML):
        return mutual((own, *said.logits), told.temperature)
    if isinstance(told, BYOT):
        return downwards(said.logits, own, told.temperature)
    branches = (own, *said.logits)
    return downwards(branches, ensemble(branches, _gate(said)), told.temperature)


def _gate(said: Beside) -> Tensor:
    assert said.gate is not None
    return said.gate


def mutual(logits: Sequence[Tensor], temperature: float) -> Tensor:
    """DML: of each network the mean over its peers of τ²·KL(peer ‖ it), summed over networks (Zhang et al. 2018,
    equations 7 and 8)."""
    if len(logits) < 2:
        return logits[0].sum() * 0.0
    found = [distillation(own, peer.detach(), temperature) for own in logits for peer in logits if peer is not own]
    return sum_of(found) / (len(logits) - 1)


def ensemble(logits: Sequence[Tensor], gate: Tensor) -> Tensor:
    """ONE: the sum of all branches' logits, each image's by its own weights (Lan et al. 2018, equation 4): gate
    (N, branches) -> (N, C)."""
    return (torch.stack(tuple(logits), 1) * gate[:, :, None]).sum(1)


def downwards(logits: Sequence[Tensor], teacher: Tensor, temperature: float) -> Tensor:
    """τ²·KL(teacher ‖ each), summed: ONE's branches from their ensemble (Lan et al. 2018, equation 6), BYOT's exits
    from the deepest one (Zhang et al. 2019, equation 2)."""
    return sum_of([distillation(own, teacher.detach(), temperature) for own in logits])


def sum_of(losses: Sequence[Tensor]) -> Tensor:
    """Of scalars."""
    return torch.stack(tuple(losses)).sum()
