"""What a network can be: plain, frozen, validated data. Imports neither torch nor ray."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Discriminator, Field, Tag, model_validator

__all__ = ["Net", "Part", "ResNet"]

Width = Annotated[int, Field(ge=1, le=8192)]

Units = Annotated[int, Field(ge=1, le=65_536)]

Multiplier = Annotated[float, Field(gt=0, le=16)]

Dropout = Annotated[float, Field(ge=0, lt=1)]


class Part(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True):
    """Keyword-only, unknown keys refused, never changed after it is made."""


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


def _kind(value: Any) -> Any:
    return value.get("kind", "plain") if isinstance(value, dict) else getattr(value, "kind", "plain")


AnyNet = Annotated[Annotated[Net, Tag("plain")] | Annotated[ResNet, Tag("resnet")], Discriminator(_kind)]
"""By its kind, which is plain unless told."""

NETS = {"plain": Net, "resnet": ResNet}
"""By their kind, which pydantic names in the place of a mistake."""
