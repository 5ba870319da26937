"""Images of a user's own code, FILE.py:NAME: whatever has a length and gives (picture, label) for each place.

The key of what is decoded is the hash of the file, of what it imports beside it, and the length: where data changed
behind an unchanged file, `kdsearch cache --clear` has them read again.
"""

import hashlib
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from kdsearch.data import pictures
from kdsearch.data.look import Look
from kdsearch.data.pictures import Broken, Progress
from kdsearch.data.reading import Reading
from kdsearch.errors import Refusal, cause_of, listed, natural, unknown
from kdsearch.storage import code


@dataclass(frozen=True)
class Items:
    """Pictures and labels by their places."""

    name: str
    items: Any
    folder: Path
    """Whose modules can be imported meanwhile."""
    source: str
    """Hash of the code."""
    passed: tuple[str, ...] = ()

    def key(self) -> str:
        """Changes whenever the code or the number of images does."""
        return hashlib.sha256(f"{self.source} {len(self.items)}".encode()).hexdigest()

    def some(self, places: Sequence[int]) -> "Items":
        """These alone."""
        return replace(self, items=_Some(self.items, places))

    def read(self, part: str, look: Look, progress: Progress) -> Reading:
        """What is there, to be decoded; each item is asked for twice. Raises Refusal."""
        heads, labels = zip(*self._each(f"looking at {part} images", pictures.head, progress), strict=True)
        names = [f"{self.name}[{place}]" for place in range(len(heads))]
        size, style = pictures.usual_size([head.size for head in heads]), pictures.style_of(heads, names, look.style)
        told = look.told(size, style)
        classes, places = self._classes(labels)

        def fill(into: np.ndarray) -> None:
            found = self._each(f"decoding {part} images", partial(pictures.pixels_of, look=told), progress)
            for place, (pixels, _) in enumerate(found):
                into[place] = pixels.reshape(into.shape[1:])

        return Reading(torch.tensor(places), classes, told, pictures.span(heads), fill)

    def _each(self, doing: str, use: Callable[[Any], Any], progress: Progress) -> Iterator[tuple[Any, int | str]]:
        """What `use` makes of each picture, and its label; at the end raises Refusal where some are none."""
        broken, count = [], len(self.items)
        with code.beside(self.folder):
            for place in range(count):
                try:
                    picture, label = _pair(self.items[place])
                    found = use(_picture(picture)), _label(label)
                except Exception as error:  # whatever a user's code raises is told to the user
                    broken.append(Broken(f"{self.name}[{place}]", cause_of(error)))
                else:
                    yield found
                if place % 256 == 255 or place == count - 1:
                    progress(doing, place + 1, count)
        if broken:
            raise Refusal(
                f"All items of one's own are a picture and its label, but {len(broken):,} of {count:,} are not, such "
                f"as {broken[0].path}: {broken[0].reason}; mend or leave them out."
            )

    def _classes(self, labels: Sequence[int | str]) -> tuple[tuple[str, ...], list[int]]:
        """Names of the classes, those of `items.classes` where labels are places in it; and each label's place."""
        words = {label for label in labels if isinstance(label, str)}
        numbers = {label for label in labels if isinstance(label, int)}
        if words and numbers:
            raise Refusal(
                f"Labels are all numbers or all words, but of '{self.name}' they are {min(numbers)} and '{min(words)}'."
            )
        names = tuple(str(name) for name in getattr(self.items, "classes", ()))
        told = numbers and min(numbers) >= 0 and max(numbers) < len(names)
        there = list(range(len(names))) if told else [*sorted(words, key=natural), *sorted(numbers)]
        names = names if told else tuple(str(label) for label in there)
        if len(names) < 2:
            raise Refusal(f"At least two classes are needed, but the labels of '{self.name}' are {listed(names)}.")
        places: dict[int | str, int] = {label: place for place, label in enumerate(there)}
        return names, [places[label] for label in labels]


@dataclass(frozen=True)
class _Some:
    """Items at these places of others."""

    items: Any
    places: Sequence[int]

    @property
    def classes(self) -> Any:
        return getattr(self.items, "classes", ())

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, place: int) -> Any:
        return self.items[self.places[place]]


@dataclass(frozen=True)
class Own:
    """A file of code, and the name in it of what trains; `validation` and `test` beside it, where there are any."""

    path: Path
    name: str

    @cached_property
    def module(self) -> ModuleType:
        """Raises Refusal for whatever it raises."""
        return code.load(self.path)

    @property
    def validation(self) -> bool:
        """Whether images of its own validate."""
        return hasattr(self.module, "validation")

    def where(self, part: str) -> str:
        """What a part is called."""
        return f"its {part}"

    def beside(self) -> list[str]:
        """What is no part."""
        return []

    def holds(self, part: str) -> Items:
        """What a part holds; raises Refusal where it cannot serve."""
        name = self.name if part == "train" else part
        if not hasattr(self.module, name):
            public = {own: value for own, value in vars(self.module).items() if not own.startswith("_")}
            there = [own for own, value in public.items() if not isinstance(value, ModuleType)]
            raise unknown(f"name in '{self.path}'", name, there)
        called = f"{self.path.name}:{name}"
        found = getattr(self.module, name)
        try:
            with code.beside(self.path.resolve().parent):
                items: Any = found() if callable(found) and not hasattr(type(found), "__getitem__") else found
                count = len(items)
        except Exception as error:
            raise Refusal(
                f"Images of one's own have a length and give (picture, label) for each place, but '{called}' raised "
                f"{cause_of(error)}"
            ) from error
        if not count:
            raise Refusal(f"Images of one's own are some, but '{called}' has none.")
        return Items(called, items, self.path.resolve().parent, code.source(self.path))


def _pair(found: Any) -> tuple[Any, Any]:
    if not isinstance(found, tuple | list) or len(found) != 2:
        kind = f"{len(found)} things" if isinstance(found, tuple | list) else f"a {type(found).__name__}"
        raise TypeError(f"an item is (picture, label), but it is {kind}")
    return found[0], found[1]


def _picture(found: Any) -> Any:
    """Pillow's."""
    from PIL import Image

    if isinstance(found, Image.Image):
        return found
    plain = isinstance(found, np.ndarray) and (found.ndim == 2 or (found.ndim == 3 and found.shape[2] in (1, 3, 4)))
    if plain and found.dtype == np.uint8:
        return Image.fromarray(found.squeeze(2) if found.shape[2:] == (1,) else found)
    shape = "×".join(map(str, getattr(found, "shape", ())))
    kind = f"an array {found.dtype} of {shape}" if isinstance(found, np.ndarray) else f"a {type(found).__name__}"
    raise TypeError(f"a picture is Pillow's or an array uint8 of height, width and channels, but it is {kind}")


def _label(found: Any) -> int | str:
    try:
        return str(found) if isinstance(found, str) else operator.index(found)
    except TypeError:
        raise TypeError(f"a label is a whole number or a word, but it is {found!r}") from None
