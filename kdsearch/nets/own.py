"""Networks of a user's own: made, with their answers by class; what they see; whether they can."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdsearch.config.datasets import Shape
from kdsearch.config.net import AnyNet, Own
from kdsearch.errors import Refusal, first_line
from kdsearch.nets import cut, factory

SMALLEST = 1e-12
"""Of a probability whose logarithm is taken."""


def placed(net: Own) -> Own:
    """With its files as every process finds them."""
    place, colon, name = net.factory.rpartition(":")
    if place.endswith(".py"):
        place = str(Path(place).expanduser().resolve())
    weights = net.weights and str(Path(net.weights).expanduser().resolve())
    return net.model_copy(update={"factory": place + colon + name, "weights": weights})


def names(net: AnyNet) -> tuple[str, ...] | None:
    """The taps of a user's own network; None of a built-in one, which is a sequence of sections."""
    return net.taps if isinstance(net, Own) else None


def sees(net: AnyNet, image: Shape) -> Shape:
    """Channels, height and width of an image as a network sees it."""
    if not isinstance(net, Own):
        return image
    channels, height, width = image
    if size := net.eye.size:
        width, height = (size, size) if isinstance(size, int) else size
    return (net.eye.channels or channels, height, width)


def built(net: Own, classes: int) -> nn.Module:
    """A user's module, whose answer is a logit for each of the data's classes. Raises Refusal."""
    module = raw(net, classes)
    columns, eye = list(net.columns), net.eye
    if columns or eye.outputs == "probabilities":

        def answer(module: nn.Module, given: Any, gave: Tensor) -> Tensor:
            gave = gave.clamp(min=SMALLEST).log() if eye.outputs == "probabilities" else gave
            return gave[:, columns] if columns else gave

        module.register_forward_hook(answer)
    return module


def raw(net: Own, classes: int) -> nn.Module:
    """A user's module as its factory gives it."""
    return factory.made(net.factory, len(net.eye.classes or ()) or classes, dict(net.arguments), net.source)


def shown(net: Own, image: Shape, classes: int) -> tuple[nn.Module, Tensor]:
    """A module and an image without memory, on the meta device; in memory where a factory computes with numbers.

    Raises Refusal where the module does not take the image."""
    refusal = None
    for device in ("meta", "cpu"):
        try:
            with torch.random.fork_rng([]), torch.device(device):
                module = raw(net, classes).eval()
                images = torch.zeros(1, *sees(net, image))
                with torch.no_grad():
                    module(images)
                return module, images
        except Refusal as error:
            refusal = error
        except Exception as error:  # whatever a user's module raises is told to the user
            refusal = Refusal(
                f"The network '{net.called}' is to see images of {'×'.join(map(str, sees(net, image)))}, but raised "
                f"{type(error).__name__}: {first_line(error)}. Its eye (size, channels) or --image-size and "
                f"--set data.channels=3 would change them."
            )
    assert refusal
    raise refusal


def head(module: nn.Module, images: Tensor, net: Own, classes: int) -> str:
    """The submodule that gives the classes; raises Refusal where a network gives another number of them."""
    parts = cut.heard(module, images)
    outputs = len(net.eye.classes or ()) or classes
    gave = next(one.gave[0] for one in parts if not one.name)
    if not isinstance(gave, Tensor) or gave.shape[1:] != (outputs,):
        shape = "×".join(map(str, gave.shape[1:])) if isinstance(gave, Tensor) else type(gave).__name__
        raise Refusal(
            f"A network gives a number for each of {outputs:,} classes, but '{net.called}' gives {shape}. If it knows "
            f"more classes than the data, its eye names them all, in the order of its outputs: Eye(classes=(…))."
        )
    own = [one for one in parts if one.name and one.owns and one.gave and isinstance(one.gave[0], Tensor)]
    return next((one.name for one in reversed(own) if one.gave[0].shape[1:] == (outputs,)), "")
