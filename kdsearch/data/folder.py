"""What a data set's name means; a user's folder of images: its parts, its classes, and what is passed over."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kdsearch.config.datasets import KNOWN
from kdsearch.data.listing import PARTS, TABLES, Listing
from kdsearch.data.pictures import endings
from kdsearch.errors import Refusal, first_line, listed, unknown, visible

MOST = 6
"""So many kinds of what is passed over are named."""


@dataclass(frozen=True)
class Folder:
    """Where the parts lie; those that begin with a dot are nobody's."""

    path: Path
    parts: Mapping[str, str]
    """Names of the folders that there are of PARTS."""

    @property
    def validation(self) -> bool:
        """Whether a folder of its own validates."""
        return "validation" in self.parts

    @property
    def is_train(self) -> bool:
        """Whether the classes lie in the folder itself, beside the other parts."""
        return "train" not in self.parts

    def part(self, name: str) -> Path:
        """Of the part train, validation or test, which may not be there."""
        return self.path / self.parts.get(name, "" if name == "train" else name)

    def where(self, part: str) -> str:
        """What a part is called."""
        return f"{self.part(part).name}/"

    def holds(self, part: str) -> Listing:
        """What a part holds, in folders of its classes however deep; raises Refusal where it cannot serve."""
        return _listing(self, part)

    def beside(self) -> list[str]:
        """What is no part."""
        if self.is_train:
            return []
        stray = _stray(self.path)
        return [*(f"{name}/" for name in _folders(self.path) if name not in self.parts.values()), *stray]


def file_of(name: str) -> tuple[Path, str] | None:
    """The file that a data set's name means, and what is named in it; None where it means no file. Raises Refusal."""
    place, _, inside = name.rpartition(":")
    path = Path(place if place.endswith(".py") else name).expanduser()
    if path.is_dir() or path.suffix.lower() not in (*TABLES, ".py"):
        return None
    if path.suffix == ".py" and not inside.isidentifier():
        raise Refusal(f"Images of one's own are FILE.py:NAME, but got '{name}'.")
    if not path.is_file():
        raise Refusal(f"A data set may be a file, but there is no '{path}'; --data names the place where it is now.")
    return path, inside if path.suffix == ".py" else ""


def folder(name: str) -> Folder:
    """The folder that a data set's name means. Raises Refusal."""
    path = Path(name).expanduser()
    if not path.is_dir():
        if "/" not in name and "\\" not in name:
            raise unknown("data set or folder", name, KNOWN)
        raise Refusal(
            f"A data set is {listed(KNOWN)}, a folder with train/<class>/*, a table (.csv, .parquet) or FILE.py:NAME; "
            f"there is no folder '{name}'; --data names the place where it is now."
        )
    there = _folders(path)
    parts: dict[str, str] = {}
    for part, names in PARTS.items():
        own = [one for one in there if one.casefold() in names]
        if len(own) > 1:
            raise Refusal(f"One folder holds the {part} images, but in '{name}' there are {listed(own)}; keep one.")
        if own:
            parts[part] = own[0]
    if "train" not in parts and len(there) - len(parts) < 2:
        raise Refusal(
            f"A folder of images must hold train/<class>/* (or the folders of two classes or more), but '{name}' has "
            f"no folder 'train', and beside it {listed(there)}."
        )
    return Folder(path, parts)


def placed(name: str) -> str:
    """A data set's name as every process understands it: paths made absolute. Raises Refusal."""
    if name in KNOWN:
        return name
    if file := file_of(name):
        path, inside = file
        return f"{path.resolve()}:{inside}" if inside else str(path.resolve())
    return str(folder(name).path.resolve())


def _listing(found: Folder, part: str) -> Listing:
    root = found.part(part)
    if not root.is_dir():
        raise Refusal(f"A folder of images must hold '{part}/<class>/*' for this, but there is no '{root}'.")
    apart = found.parts.values() if root == found.path else ()
    classes = [name for name in _folders(root) if name not in apart]
    odd = [name for name in classes if name != name.encode(errors="replace").decode()]
    if odd:
        raise Refusal(f"Names of classes are UTF-8, but {listed(odd)} in '{root}' is not; rename it (convmv does).")
    if len(classes) < 2:
        raise Refusal(f"Classes are the folders in '{root}', and at least two are needed, but got {listed(classes)}.")
    files: list[str] = []
    labels: list[int] = []
    others: Counter[str] = Counter()
    for number, name in enumerate(classes):
        own, rest = _sorted_out(root / name)
        if not own:
            there = f" but {listed(_counted(rest))}" if rest else ""
            raise Refusal(f"Every class needs images, but '{root / name}' holds none{there}; {_way_out(rest)}.")
        files += own
        labels += [number] * len(own)
        others += rest
    return Listing(tuple(classes), tuple(files), tuple(labels), (*_stray(root), *_counted(others)))


def _stray(path: Path) -> list[str]:
    """Files that lie beside folders: `3 files in train/ itself (2 *.png, 1 *.csv)`."""
    kinds = Counter(entry.suffix.lower() for entry in _files(path) if not entry.name.startswith("."))
    count = kinds.total()
    return [f"{count:,} file{'s' * (count > 1)} in {path.name}/ itself ({', '.join(_counted(kinds))})"] if kinds else []


def _sorted_out(path: Path) -> tuple[list[str], Counter[str]]:
    """Pictures of a class, and how many other files it holds, by their endings."""
    own: list[str] = []
    rest: Counter[str] = Counter()
    for file in walked(path):
        ending = os.path.splitext(file)[1].lower()
        if ending in endings():
            own.append(file)
        else:
            rest[ending] += 1
    return own, rest


def walked(path: Path) -> Iterator[str]:
    """All files below, also through links, each folder once; without names that begin with a dot."""
    seen: set[str] = set()
    for root, folders, names in os.walk(path, onerror=_unread, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (os.path.join(root, name) for name in sorted(names) if not name.startswith("."))


def _unread(error: OSError) -> None:
    raise Refusal(
        f"All folders of a class are read, but '{error.filename}' is not ({first_line(error)}); give the right to read "
        f"it, or move it away."
    )


def _counted(others: Counter[str]) -> list[str]:
    """`3 *.heic`, the most frequent first."""
    kinds = [
        (f"*{visible(ending)}" if ending else "without an ending", count) for ending, count in others.most_common()
    ]
    said = [f"{count:,} {kind}" for kind, count in kinds[:MOST]]
    rest = sum(count for _, count in kinds[MOST:])
    return [*said, f"{rest:,} other files"] if rest else said


def _way_out(others: Counter[str]) -> str:
    if {".heic", ".heif"} & set(others):
        return "pip install pillow-heif reads *.heic, too"
    return "remove the folder, or put pictures there that Pillow opens"


def _folders(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _files(path: Path) -> list[Path]:
    return [entry for entry in path.iterdir() if not entry.is_dir()]
