"""Pairs of layers, and the further terms by which a link is taught."""

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from kdsearch.config.part import MOST, Part, Ramp, Share, Weight

__all__ = ["AT", "BSS", "FSP", "PKT", "RKD", "SP", "OwnTerm", "Pair"]

Layer = Annotated[int, Field(ge=1)] | Annotated[str, Field(pattern=r"^([1-9][0-9]*/[1-9][0-9]*|[A-Za-z_][\w.]*)$")]
"""Its number from 1; a part of the depth, `2/3`; or a submodule's name, of a network of the user's own."""

Pooling = Literal["average", "max"]


class Pair(Part, frozen=True):
    """A hint and its guided layer, written `2→6`: number of the layer in the teacher → in the student.

    A plain network's layers are its convolutions, a residual one's the stem and the blocks, those of a user's own its
    taps."""

    hint: Layer
    """The teacher's layer, counted from 1; its map is what the next layer reads. A part of its depth (`2/3`), or the
    name of a submodule, becomes a number once the network is known."""
    guided: Layer
    """The student's layer, likewise."""
    weight: Annotated[float, Field(ge=0, le=MOST)] = 1.0
    """Of this pair's loss in stage 1; 0 only to repeat a paper whose code had left the loss out."""

    @property
    def layers(self) -> tuple[int, int]:
        """Numbers of the hint and of the guided layer, once the networks are known."""
        assert isinstance(self.hint, int) and isinstance(self.guided, int)
        return self.hint, self.guided

    @model_validator(mode="before")
    @classmethod
    def _written_as_a_word(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        ends = re.split(r"\s*(?:→|>)\s*", value.strip())
        if len(ends) != 2:
            raise ValueError(f"a pair is written hint>guided, such as 2>6 or blocks.4>layer2, but got {value!r}.")
        return {name: int(end) if end.isdecimal() else end for name, end in zip(("hint", "guided"), ends, strict=True)}

    def __str__(self) -> str:
        return f"{self.hint}→{self.guided}"


def once(pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
    """Raises ValueError where a pair is given twice."""
    names = [str(pair) for pair in pairs]
    if len(set(names)) < len(names):
        raise ValueError(f"each pair may be given once, but got {' '.join(names)}.")
    return pairs


class Joint(Part, frozen=True):
    """A further term of stage 2, beside labels and softened answers."""

    share: Share | None = None
    """Of the gradient: `weight` is set each epoch so that the term has it."""

    @property
    def name(self) -> str:
        """Of its columns."""
        return getattr(self, "method")  # noqa: B009 (each has its own)


Pairs = Annotated[tuple[Pair, ...], Field(max_length=16), AfterValidator(once)]


class AT(Joint, frozen=True):
    """Where maps are active: attention transfer (Zagoruyko and Komodakis 2017)."""

    method: Literal["at"] = "at"
    weight: Weight = 1000.0
    """Of the sum over its pairs."""
    pairs: Pairs = ()
    """Layers whose maps are compared; empty: the ends of blocks or stages, of one's own networks all taps."""


class FSP(Joint, frozen=True):
    """What happens between maps: the flow of solution procedure (Yim et al. 2017). As a first stage: `Hints.match`."""

    method: Literal["fsp"] = "fsp"
    weight: Weight = 50.0
    """Of the sum over its flows."""
    pairs: Pairs = ()
    """Layers between which flows are compared, each with the next; their channels must agree. Empty: the first layer
    and the ends of blocks or stages, of one's own networks all taps."""
    pooling: Pooling = "average"
    """How the larger map of a flow is brought to the smaller one's size."""

    @field_validator("pairs")
    @classmethod
    def _pairs_lead_on(cls, pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
        if len(pairs) == 1:
            raise ValueError(f"a flow leads from one pair to the next, but there is only {pairs[0]}.")
        return pairs


class SP(Joint, frozen=True):
    """How alike the images of a batch are, by their last maps: similarity preserving (Tung and Mori 2019)."""

    method: Literal["sp"] = "sp"
    weight: Weight = 3000.0
    """Of the sum over its pairs."""
    pairs: Pairs = ()
    """Layers whose maps are compared; empty: the last ones."""


class RKD(Joint, frozen=True):
    """How far the images of a batch are from each other, or at which angles, by their embeddings: relational knowledge
    distillation (Park et al. 2019)."""

    method: Literal["rkd"] = "rkd"
    form: Literal["distances", "angles"] = "distances"
    """Both: one term each."""
    weight: Weight = 25.0
    """Unless told 25 of distances, 50 of angles."""

    @model_validator(mode="before")
    @classmethod
    def _angles_weigh_more(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("form") == "angles":
            return {"weight": 50.0, **value}
        return value

    @property
    def name(self) -> str:
        """Of its columns."""
        return f"rkd-{self.form[0]}"


class PKT(Joint, frozen=True):
    """How likely each image of a batch is another's neighbour, by their embeddings: probabilistic knowledge transfer
    (Passalis and Tefas 2018)."""

    method: Literal["pkt"] = "pkt"
    weight: Weight = 30000.0


class BSS(Joint, frozen=True):
    """What a teacher says of images that were moved to its boundary (Heo et al. 2019): the teacher runs live unless
    `recorded`."""

    LATER: ClassVar[tuple[str, ...]] = ("recorded",)

    method: Literal["bss"] = "bss"
    weight: Weight = Ramp(start=2, end=0, over=0.75)
    """In epochs in which it is 0 nothing is attacked."""
    temperature: Annotated[float, Field(gt=0, le=1000)] = 3.0
    """Dividing both networks' logits; without its square."""
    steps: Annotated[int, Field(ge=1, le=100)] = 10
    """Of an attack at most."""
    size: Annotated[int, Field(ge=2, le=4096)] = 64
    """Images of a batch that are attacked at most."""
    recorded: bool = False
    """Each image is moved once for all trials, in each view, towards one class that is drawn then; the paper draws
    another one each time. What is learned from is still chosen at each step."""


class OwnTerm(Joint, frozen=True):
    """A loss of the user's own: a function of what student and teacher show."""

    method: Literal["own"] = "own"
    term: str
    """FILE.py:FUNCTION."""
    weight: Weight | None = None
    """None: the function's own, else 1."""
    source: str = ""
    """Hash of the function's file and of those beside it that it imports; empty: not found yet."""

    @property
    def called(self) -> str:
        """As a user knows it, without its folder: `my_terms.py:cosine`."""
        return self.term.replace("\\", "/").rpartition("/")[2]

    @property
    def name(self) -> str:
        """Of its columns."""
        return self.term.rpartition(":")[2]


TERMS = {"at": AT, "fsp": FSP, "sp": SP, "rkd": RKD, "pkt": PKT, "bss": BSS, "own": OwnTerm}
"""By the word that a config has for them."""

AnyTerm = Annotated[AT | FSP | SP | RKD | PKT | BSS | OwnTerm, Field(discriminator="method")]


def pairs_of(term: Joint) -> tuple[Pair, ...]:
    """The pairs that a term was told."""
    return term.pairs if isinstance(term, AT | FSP | SP) else ()
