"""What the channels of training images are like."""

import hashlib
import os

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from kdsearch.data.rows import PART, Rows
from kdsearch.errors import Refusal
from kdsearch.storage import cache
from kdsearch.storage.files import whole


def statistics(rows: Rows, fingerprint: str) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, exact (from counts of the 256 values): float32 (C, 1, 1).

    `fingerprint`: of the set whose rows they are."""
    values = torch.arange(256, dtype=torch.float64) / 255
    means, stds = [], []
    for counts in _counts(rows, fingerprint):
        share = counts.double()
        share /= share.sum()
        mean = (share * values).sum()
        means.append(mean)
        stds.append((share * (values - mean) ** 2).sum().sqrt())
    shape = (-1, 1, 1)
    return torch.stack(means).float().view(shape), torch.stack(stds).float().view(shape)


def _counts(rows: Rows, fingerprint: str) -> Tensor:
    """How often each channel has each value: int64 (C, 256). Counted once for these rows of a set."""
    chosen = hashlib.sha256(rows.places.numpy().data).hexdigest()[:16]
    path = cache.folder() / "images" / f"{fingerprint}-{chosen}.safetensors"
    try:
        found = load_file(path)["counts"]
        if found.sum() == rows.nbytes:
            return found
    except (OSError, SafetensorError, KeyError):
        pass  # not there, or damaged
    found = torch.zeros(rows.shape[0], 256, dtype=torch.int64)
    for some in rows.split(PART):
        for channel, counts in enumerate(found):
            counts += some[:, channel].flatten().bincount(minlength=256)
    with whole(path) as draft:
        save_file({"counts": found}, draft)
        os.chmod(draft, 0o644)  # others on a shared disk read it too
    return found


def told(values: tuple[float, ...] | None, own: Tensor) -> Tensor:
    """A statistic that a config tells, of as many channels as the images' own: one value is all channels', and of grey
    images the mean of colours' three; (C, 1, 1). Raises Refusal for another number of values."""
    if values is None:
        return own
    said = torch.tensor(values)
    if len(said) not in {1, len(own)} and (len(own), len(said)) != (1, 3):
        raise Refusal(
            f"A mean or standard deviation has a value for each channel, or one for all, but images of {len(own)} "
            f"channels were told {', '.join(f'{value:g}' for value in values)}."
        )
    return (said if len(said) == len(own) else said.mean().expand(len(own))).view(-1, 1, 1).contiguous()
