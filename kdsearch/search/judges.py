"""The images that judge a student again when it is handed over: in float32, and in each format that it gets."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from kdsearch.config.datasets import KNOWN
from kdsearch.config.pipeline import Data, Pipeline
from kdsearch.config.provenance import Made
from kdsearch.data import images as data_images
from kdsearch.data.memory import Images
from kdsearch.data.pictures import Progress
from kdsearch.data.rows import Rows
from kdsearch.data.sight import seen_by
from kdsearch.errors import Refusal

AT_ONCE = 1000

Run = Callable[[Tensor], Tensor]
"""A format of a network: uint8 (N, C, H, W) -> logits (N, classes)."""


@dataclass(frozen=True)
class Part:
    """Images whose classes are known, as a student sees them."""

    name: str
    """validation or test."""
    pixels: Rows
    labels: Tensor

    def logits(self, run: Run) -> Tensor:
        """Of all images: (N, classes)."""
        with torch.inference_mode():
            return torch.cat([run(some) for some in self.pixels.split(AT_ONCE)])

    def right(self, logits: Tensor) -> int:
        """How many are taken for what they are."""
        return int((logits.argmax(1) == self.labels).sum())


@dataclass(frozen=True)
class Judges:
    """The images of a trial's search, as its student sees them."""

    images: Images
    parts: tuple[Part, ...]
    """Validation; and the test images, where they were asked for."""

    def calibration(self, count: int) -> Tensor:
        """Some of the training images: uint8 (N, C, H, W)."""
        return self.images.train[: min(count, len(self.images.train))].contiguous()


def with_size(data: Data, made: Made | None) -> Data:
    """Of an older config, which does not say the size that a folder's images were brought to: it is known."""
    if made and data.image_size is None and data.name not in KNOWN:
        return data.model_copy(update={"image_size": made.image[:0:-1]})
    return data


class Reader:
    """Reads the images of a search once, for all of its trials."""

    def __init__(self, data_dir: Path, place: str | None, test: bool, progress: Progress) -> None:
        """`place`: where a folder of images lies now; `test`: read the test images, too."""
        self._data_dir, self._place, self._test, self._progress = data_dir.resolve(), place, test, progress
        self._known: dict[str, Images] = {}

    def judges(self, pipeline: Pipeline, made: Made) -> Judges:
        """Of a trial. Raises Refusal where its images are not there, or are others."""
        data = with_size((pipeline.on(self._place) if self._place else pipeline).data, made)
        key = data.model_dump_json()
        if key not in self._known:
            self._known[key] = data_images.load(data, self._data_dir, self._progress)
        images = self._known[key]
        if images.fingerprint != made.fingerprint:
            raise Refusal(
                f"A student is judged on the images of its search, but those of '{data.name}' are others by now "
                f"(fingerprint {made.fingerprint} then, {images.fingerprint} here); --data names where they lie."
            )
        seen = seen_by(images, pipeline.student.net)
        parts = [Part("validation", seen.validation, seen.validation_labels)]
        if self._test:
            parts.append(Part("test", *data_images.load_test(data, self._data_dir, seen, self._progress)))
        return Judges(seen, tuple(parts))
