"""The same images as another network sees them: at its size, in its channels, on its scale."""

from dataclasses import replace

import torch
from torch import Tensor

from kdsearch.config.net import AnyNet, Eye, Own
from kdsearch.data import sources
from kdsearch.data.look import Look, pair
from kdsearch.data.memory import Images
from kdsearch.data.pictures import Progress
from kdsearch.data.rows import Rows
from kdsearch.data.sources import Decoded, decoded, silent
from kdsearch.data.statistics import statistics, told
from kdsearch.errors import Refusal


def seen(images: Images, eye: Eye, progress: Progress = silent) -> Images:
    """The images of a pipeline in the same order, split and views, as a network with this eye sees them: themselves
    where it sees them as all do. Made once. Raises Refusal."""
    sight = eye.model_copy(update={name: Eye.model_fields[name].default for name in ("classes", "outputs")})
    if sight == Eye():
        return images
    if sight not in images.sights:
        images.sights[sight] = _seen(images, sight, progress)
    return images.sights[sight]


def seen_by(images: Images, net: AnyNet) -> Images:
    """The images as a network sees them: a built-in one as the pipeline has them."""
    return seen(images, net.eye) if isinstance(net, Own) else images


def _seen(images: Images, eye: Eye, progress: Progress) -> Images:
    origin = images.origin
    look = _look(origin.look, eye)
    mean, std = images.mean.cpu(), images.std.cpu()
    train, validation = images.train, images.validation
    if look != origin.look:
        data, data_dir, judging, memory = origin.data, origin.data_dir, origin.judging, origin.memory
        parts = {part: decoded(data.name, part, data_dir, look, progress) for part in {"train", judging}}
        _check(images, parts["train"])
        train = parts["train"].rows(train.places, memory)
        validation = parts[judging].rows(validation.places, memory)
        if train.shape[0] != images.shape[0]:
            own = statistics(train, parts["train"].fingerprint)
            mean, std = (told(*both) for both in zip((data.mean, data.std), own, strict=True))
    height, width = (ours / theirs / eye.crop for ours, theirs in zip(train.shape[1:], images.shape[1:], strict=True))
    found = replace(
        images, train=train, validation=validation, mean=mean, std=std, scale=(height, width),
        origin=replace(origin, look=look),
    )  # fmt: skip
    return scaled(found, eye)


def scaled(images: Images, eye: Eye) -> Images:
    """The same pixels on an eye's scale and in its order of channels; where it tells no scale, on the images' own."""
    mean, std, backwards = images.mean.cpu(), images.std.cpu(), eye.order == "bgr"
    if backwards != images.backwards:
        mean, std = mean.flip(0), std.flip(0)
    mean, std = told(eye.mean, mean), told(eye.std, std).clamp(min=1e-3)
    return replace(images, mean=mean, std=std, backwards=backwards).to(images.mean.device, images.precision)


def few(images: Images, eye: Eye, places: Tensor) -> Images:
    """Some of the images that validate, and none that train, at an eye's size, but on the scale and in the order of
    channels that `images` are seen in; decoded for this alone where it is another size. Raises Refusal."""
    origin, look = images.origin, _look(images.origin.look, eye)
    if look == origin.look:
        pixels = images.validation[places.to(images.validation.device)].permute(0, 2, 3, 1)
    else:
        there = images.validation.places[places].tolist()
        pixels = sources.some(origin.data.name, origin.judging, origin.data_dir, there, look)
    found = Rows(pixels.contiguous(), torch.arange(len(pixels)), held=True)
    labels = images.validation_labels[places.to(images.validation_labels.device)]
    none = replace(found, places=found.places[:0])
    return replace(images, train=none, labels=images.labels[:0], validation=found, validation_labels=labels)


def _check(images: Images, found: Decoded) -> None:
    """Raises Refusal where the source holds other images than when these were read: rows are places in it."""
    places, labels = images.train.places, images.labels.cpu()
    if len(found.labels) <= int(places.max()) or not found.labels[places].equal(labels):
        raise Refusal(
            f"A network sees the images that were read at first, but those of '{images.origin.data.name}' have changed "
            f"since; begin anew."
        )


def _look(own: Look, eye: Eye) -> Look:
    """How images are looked at through an eye, where they are usually looked at as `own` says."""
    assert own.style
    grey = own.style.grey if eye.channels is None else eye.channels == 1
    return Look(pair(eye.size) or own.size, replace(own.style, grey=grey), eye.resize, eye.crop)
