"""What each term weighs in one epoch: what was told, or what gives it its share of the gradient."""

from collections.abc import Mapping

import torch
from torch import Tensor


class Weights:
    """Of one epoch. Those with a share are known once the first batch has shown how long gradients are."""

    def __init__(self, told: Mapping[str, float], shares: Mapping[str, float], before: Mapping[str, float]) -> None:
        """`told`: by name; `shares`: of the gradient, of those that are set by it; `before`: what these weighed in the
        epoch before."""
        self._now: dict[str, float | Tensor] = dict(told)
        self.shares = shares
        self._before = before

    def __getitem__(self, name: str) -> float | Tensor:
        return self._now[name]

    def idle(self, name: str) -> bool:
        """Whether a term has no part in this epoch."""
        return name not in self.shares and bool(self._now[name] == 0)

    def measured(self, norms: Mapping[str, Tensor], lengths: Mapping[str, Tensor]) -> None:
        """Set those with a share, by the norms of the other terms' weighted gradients and the lengths of their own,
        unweighted: so that each has its share of the sum of all norms. One batch's gradients are noisy, so that from
        the second epoch on a weight is the geometric mean of that and what it was before."""
        rest = sum(norms.values(), torch.zeros(()))
        others = 1 - sum(self.shares.values())
        for name, length in lengths.items():
            known = self._before.get(name, self._now[name])
            wanted = self.shares[name] / others * rest / torch.where(length > 0, length, 1.0)
            if name in self._before:
                wanted = (wanted * known).sqrt()
            self._now[name] = torch.where((length > 0) & (rest > 0), wanted, known).detach()
