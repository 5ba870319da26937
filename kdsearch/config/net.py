"""What a network can be: plain, frozen, validated data. Imports neither torch nor ray."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    model_validator,
)  # fmt: skip

from kdsearch.config.part import Part, Side

__all__ = ["Eye", "Net", "Own", "ResNet"]

Width = Annotated[int, Field(ge=1, le=8192)]

Units = Annotated[int, Field(ge=1, le=65_536)]

Multiplier = Annotated[float, Field(gt=0, le=16)]

Dropout = Annotated[float, Field(ge=0, lt=1)]


class Net(Part, frozen=True):
    """A plain convolutional network: blocks of 3×3 convolutions, each ended by a pool, then linear layers."""

    kind: Literal["plain"] = "plain"
    widths: Annotated[tuple[Width, ...], Field(min_length=1, max_length=8)] = (16, 32, 48)
    """Channels of each block, before the multiplier; the default is seed 1's student."""
    depth: Annotated[int, Field(ge=1, le=96)] = 9
    """Convolutions in all: a multiple of the number of blocks."""
    hidden: Units | Annotated[tuple[Units, ...], Field(max_length=8)] = 128
    """Units of the linear layers before the last one, before the multiplier: one number, or as many as there are."""
    width: Multiplier = 1.0
    """Multiplier of all channels and hidden units."""
    batch_norm: bool | Literal["after"] = False
    """Batch normalisation between each convolution and its ReLU; after: behind the ReLU (seed 2)."""
    hidden_norm: bool = False
    """Batch normalisation behind each hidden unit's ReLU."""
    dropout: Dropout = 0.1
    """Before the last linear layer, and behind every hidden one before it."""
    block_dropout: Dropout | Annotated[tuple[Dropout, ...], Field(max_length=8)] = 0.0
    """Behind each block's pool: of all, or one a block."""
    pools: Annotated[tuple[Annotated[int, Field(ge=1, le=16)], ...], Field(max_length=8)] | None = None
    """Kernel and stride of the max pool at each block's end, 1: none; None: seed 1's, 2/2 and the last one 4/2."""
    padding: Literal[0, 1] = 1
    """Of each convolution; without it a map loses two pixels a side of the image."""

    @model_validator(mode="after")
    def _depth_fills_blocks(self) -> "Net":
        blocks = len(self.widths)
        if self.depth % blocks:
            raise ValueError(
                f"depth must be a positive multiple of {blocks} (the number of blocks), but got depth={self.depth}."
            )
        for name in ("pools", "block_dropout"):
            found = getattr(self, name)
            if isinstance(found, tuple) and len(found) != blocks:
                raise ValueError(
                    f"{name} has one number a block, but there are {blocks} blocks and got {name}={list(found)}."
                )
        return self

    @property
    def layers(self) -> int:
        """Those that give and take hints: the convolutions."""
        return self.depth

    @property
    def middle(self) -> int:
        """The layer at the end of the middle block."""
        return self.block_end((len(self.widths) + 1) // 2)

    @property
    def ends(self) -> tuple[int, ...]:
        """The layers at the ends of blocks."""
        return tuple(self.block_end(block) for block in range(1, len(self.widths) + 1))

    def block_end(self, block: int) -> int:
        """Number of the last convolution of a block, both counted from 1."""
        return block * self.depth // len(self.widths)


class ResNet(Part, frozen=True):
    """A residual network for small images (He et al. 2016): a 3×3 stem without a pool, stages of basic blocks, each
    but the first beginning with stride 2 and a 1×1 projection, global average pool, one linear layer.

    Its layers, for hints: the stem is 1, then the blocks."""

    kind: Literal["resnet"]
    widths: Annotated[tuple[Width, ...], Field(min_length=1, max_length=8)] = (64, 128, 256, 512)
    """Channels of each stage, before the multiplier; the stem has the first one's."""
    blocks: Annotated[int, Field(ge=1, le=64)] = 2
    """Of two convolutions, in each stage; the default makes it ResNet-18."""
    width: Multiplier = 1.0
    """Multiplier of all channels."""

    @property
    def layers(self) -> int:
        """Those that give and take hints."""
        return 1 + self.blocks * len(self.widths)

    @property
    def middle(self) -> int:
        """The layer at the end of the middle stage."""
        return 1 + self.blocks * ((len(self.widths) + 1) // 2)

    @property
    def ends(self) -> tuple[int, ...]:
        """The layers at the ends of stages."""
        return tuple(1 + self.blocks * stage for stage in range(1, len(self.widths) + 1))


Shares = Annotated[tuple[float, ...], Field(min_length=1, max_length=4)]


class Eye(Part, frozen=True):
    """How a network sees an image, and what the places of its answer mean: as those who trained it had it."""

    size: Side | tuple[Side, Side] | None = None
    """Side in pixels, or width and height; None: the pipeline's."""
    resize: Literal["bilinear", "bicubic", "nearest", "lanczos"] | None = None
    """By which filter an image is brought to that size; None: as all images are."""
    crop: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the image's sides, at its centre, that it sees. Below 1 it sees less of an image than who learns from
    it."""
    mean: Shares | None = None
    """Subtracted from each channel on the scale 0–1; None: the images' own."""
    std: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1, max_length=4)] | None = None
    """What each channel is divided by, likewise."""
    order: Literal["rgb", "bgr"] = "rgb"
    """Of the channels that it reads; its own mean and std are told in this order."""
    channels: Literal[1, 3] | None = None
    """That it reads; None: the images' own. Grey images are repeated, coloured ones are made grey."""
    classes: tuple[str, ...] | None = None
    """Names of its outputs, in their order: those that the data lack are left out; None: the data's own."""
    outputs: Literal["logits", "probabilities"] = "logits"
    """What it gives; of probabilities the logarithm is taken."""


def _pairs(told: Any) -> Any:
    """Arguments as sorted pairs, lists as tuples: what is frozen can be compared and counted."""
    return tuple(sorted((str(name), _frozen(value)) for name, value in _items(told)))


def _items(told: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(told, Mapping):
        return told.items()
    if not isinstance(told, tuple | list) or any(len(pair) != 2 for pair in told):
        raise ValueError("arguments are values by their names")
    return told


def _frozen(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return tuple(_frozen(one) for one in value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"an argument is a number, a word, True, False, None or a list of them, but got {value!r}")


Arguments = Annotated[
    tuple[tuple[str, Any], ...],
    BeforeValidator(_pairs),
    PlainSerializer(lambda pairs: {name: list(value) if isinstance(value, tuple) else value for name, value in pairs}),
]
"""By name; plain data on the outside."""


class Own(Part, frozen=True):
    """Any torch.nn.Module of a user's own, by the name of the function that makes it. What is found out about it stands
    in the last fields: configs that are written hold them."""

    kind: Literal["own"]
    factory: str
    """FILE.py:FUNCTION, package.module:FUNCTION, timm:NAME or torchvision:NAME; called with (classes, **arguments), or
    with (classes, trial), whose suggestions are `arguments`. timm:NAME@pretrained alone may download."""
    arguments: Arguments = ()
    """Beside the number of classes."""
    weights: str | None = None
    """A .safetensors file, or a .pt that torch.load takes with weights_only; None: as the factory draws them."""
    taps: tuple[str, ...] = ()
    """Submodules that give and take hints, in the order in which they run; empty: one a resolution is found."""
    eye: Eye = Eye()
    """How it sees; what is left out here is taken from the factory, else from timm's own record."""
    source: str = ""
    """Hash of the factory's file and those beside it, or the version of its library; empty: not found yet."""
    weights_hash: str = ""
    """Of the file of weights."""
    head: str = ""
    """The submodule that gives the classes."""
    new_head: bool = False
    """It is drawn anew, since the weights know other classes."""
    columns: tuple[int, ...] = ()
    """Places of the data's classes among its outputs; empty: they are its outputs."""

    @property
    def called(self) -> str:
        """As a user knows it, without its folder: `my_nets.py:student`."""
        return self.factory.replace("\\", "/").rpartition("/")[2]

    @property
    def layers(self) -> int:
        """Those that give and take hints."""
        return len(self.taps)

    @property
    def middle(self) -> int:
        """The tap at half its depth."""
        return max(round(len(self.taps) / 2), 1)

    @property
    def ends(self) -> tuple[int, ...]:
        """All taps."""
        return tuple(range(1, self.layers + 1))


def _kind(value: Any) -> Any:
    return value.get("kind", "plain") if isinstance(value, dict) else getattr(value, "kind", "plain")


AnyNet = Annotated[
    Annotated[Net, Tag("plain")] | Annotated[ResNet, Tag("resnet")] | Annotated[Own, Tag("own")], Discriminator(_kind)
]
"""By its kind, which is plain unless told."""

NETS = {"plain": Net, "resnet": ResNet, "own": Own}
"""By their kind, which pydantic names in the place of a mistake."""


def names(net: AnyNet) -> tuple[str, ...] | None:
    """The taps of a user's own network; None of a built-in one, which is a sequence of sections."""
    return net.taps if isinstance(net, Own) else None


def sees(net: AnyNet, image: tuple[int, int, int]) -> tuple[int, int, int]:
    """Channels, height and width of an image as a network sees it."""
    if not isinstance(net, Own):
        return image
    channels, height, width = image
    if size := net.eye.size:
        width, height = (size, size) if isinstance(size, int) else size
    return (net.eye.channels or channels, height, width)
