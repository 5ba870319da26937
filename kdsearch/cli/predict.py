"""The command that asks an exported student about pictures."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

import kdsearch
from kdsearch.cli.options import interruptible
from kdsearch.errors import visible
from kdsearch.results import show


def predict(
    export: Annotated[Path, typer.Argument(metavar="EXPORT", help="A folder that `kdsearch export` wrote.")],
    pictures: Annotated[list[Path], typer.Argument(metavar="PICTURE|DIR...", help="Pictures, or folders of them.")],
    top: Annotated[int, typer.Option(min=1, help="So many classes of each, the likeliest first.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a picture, a line each.")] = False,
) -> None:
    """Say what is in pictures; of folders named as classes, how many are right, too."""
    from kdsearch.data.single import below, class_of

    with interruptible(lambda: "The answers by then are above."):
        student: Any = kdsearch.load(export)
        places, right = below(pictures), _Right(student.classes)
        answers = student.predictions(path for path, _ in places)
        for (path, place), found in zip(places, answers, strict=True):
            right.add(class_of(path, place, student.classes), found[0][0])
            print(_line(path, found[:top], as_json))
        if right.seen and not as_json:
            right.show()


def _line(path: Path, found: Sequence[tuple[str, float]], as_json: bool) -> str:
    if as_json:
        told = [{"class": name, "probability": share} for name, share in found]
        return json.dumps({"picture": str(path), "predictions": told})
    return visible(f"{path}  {'  '.join(f'{name} {100 * share:.1f} %' for name, share in found)}")


class _Right:
    """Pictures whose folder is named as a class: how many were taken for it."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = classes
        self.seen, self._right = Counter[str](), Counter[str]()

    def add(self, name: str | None, said: str) -> None:
        if name is not None:
            self.seen[name] += 1
            self._right[name] += said == name

    def show(self) -> None:
        """Class by class, and all together."""
        rows = [
            [name, f"{self.seen[name]:,}", f"{100 * self._right[name] / self.seen[name]:.1f} %"]
            for name in self._classes if self.seen[name]
        ]  # fmt: skip
        console, count, right = show.console(), self.seen.total(), self._right.total()
        console.print(show.table("By class", ("class", "pictures", "right"), rows, left=("class",)))
        said = f"Right: {right:,} of {count:,} pictures whose folder is named as a class: {100 * right / count:.2f} %"
        console.print(f"{said} ({right / count:.6f})", soft_wrap=True)
