"""A table's protocol at a size that fits a machine, or on other images. Imports neither torch nor ray."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from kdsearch.config.datasets import KNOWN
from kdsearch.config.net import Own
from kdsearch.config.pipeline import Data, Fit, Link, Pipeline
from kdsearch.errors import unknown
from kdsearch.papers.tables import Protocol

LEAST = 2
"""Epochs of a link, one for each stage."""

FOLDERS = "a folder is read class by class, so its fractions are stratified, not the first images"


@dataclass(frozen=True)
class Scale:
    """What a protocol is reduced to."""

    said: str
    images: int | None = None
    """At most, for training; with those for validation where there are no test images."""
    epochs: float = 1
    """Share of each link's."""
    most: int | None = None
    """Epochs of a link."""
    width: float = 1
    """Multiplies all networks'."""


SCALES = {
    "full": Scale("as published"),
    "small": Scale("5,000 images, a third of the epochs", images=5000, epochs=1 / 3),
    "tiny": Scale("400 images, 2 epochs, a quarter of the width", images=400, most=LEAST, width=0.25),
}


def called(data: str) -> str:
    """A data set in a folder's name: two folders of images may have the same last name."""
    if data in KNOWN:
        return data
    return f"{Path(data).name}-{hashlib.sha256(data.encode()).hexdigest()[:6]}"


def named(word: str) -> Scale:
    """A scale by its name; raises Refusal for an unknown one."""
    if word not in SCALES:
        raise unknown("scale", word, SCALES)
    return SCALES[word]


def resized(protocol: Protocol, scale: Scale, data: str, validation: float | None = None) -> Protocol:
    """The protocol at a scale, on a data set (its own, another one's name, or a folder's path).

    `validation`: share of the training images that judges, where the data set has no test images.
    """
    update: dict = {"name": data, "images": scale.images}
    if validation is not None:
        update["validation"] = validation
    chosen = protocol.data.model_copy(update=update)
    in_order = data in KNOWN
    rows = {name: _row(row, scale, chosen, in_order) for name, row in protocol.rows.items()}
    first = any(link.fit.subset == "first" for row in protocol.rows.values() for link in row.links)
    remarks = protocol.remarks if in_order or not first else (*protocol.remarks, FOLDERS)
    return replace(protocol, rows=rows, remarks=remarks)


def _row(row: Pipeline, scale: Scale, data: Data, in_order: bool) -> Pipeline:
    return Pipeline(links=tuple(_link(link, scale, in_order) for link in row.links), data=data)


def _link(link: Link, scale: Scale, in_order: bool) -> Link:
    assert not isinstance(link.net, Own)  # no paper has them
    net = link.net.model_copy(update={"width": link.net.width * scale.width})
    return link.model_copy(update={"net": net, "fit": _fit(link.fit, scale, in_order)})


def _fit(fit: Fit, scale: Scale, in_order: bool) -> Fit:
    assert fit.epochs is not None
    update: dict = {"epochs": scale.most or max(round(scale.epochs * fit.epochs), LEAST)}
    if not in_order:
        update["subset"] = "stratified"
    return fit.model_copy(update=update)
