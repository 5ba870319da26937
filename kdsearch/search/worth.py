"""What a given teacher was found to be worth, and whether it may teach."""

from collections.abc import Callable
from dataclasses import dataclass

from kdsearch.config.net import Own
from kdsearch.config.pipeline import Link
from kdsearch.data.memory import Images
from kdsearch.distill import given
from kdsearch.errors import Refusal
from kdsearch.results.format import percent


@dataclass(frozen=True)
class Checked:
    """A given teacher, as it was found."""

    net: Own
    facts: tuple[str, ...]
    """Sentences."""
    warnings: tuple[str, ...] = ()
    refusal: str = ""
    """Why it should teach nobody; empty where it may."""
    accuracy: float | None = None
    """On the validation images, 0–1; None where its head is to be trained first."""


def show(found: Checked, tell: Callable[..., None], warn: Callable[[str], None]) -> None:
    """What was found, a line each."""
    for number, sentence in enumerate(found.facts):
        tell(f"{'        ' if number else 'Teacher:'} {sentence}", soft_wrap=True, highlight=False)
    for sentence in found.warnings:
        warn(f"the teacher would be better, {sentence}")


def reached(accuracy: float, images: Images) -> str:
    """In words, with what chance would make of it."""
    low, high = given.interval(accuracy, len(images.validation))
    return (
        f"{percent(accuracy)} of {len(images.validation):,} validation images (95 % interval {100 * low:.1f}–"
        f"{100 * high:.1f} %; chance {percent(1 / len(images.classes))})"
    )


def epochs_of(count: int | None) -> str:
    return "an epoch" if count == 1 else f"{count} epochs"


def trained(link: Link, accuracy: float, images: Images) -> Checked:
    """A given teacher once it, or its new head, was trained: refused where it still answers at chance."""
    own, part = link.net, "its head alone" if link.fit.trains == "head" else "the whole"
    assert isinstance(own, Own)
    said = f"after {epochs_of(link.fit.epochs)} of training {part}, {reached(accuracy, images)}"
    lost = given.at_chance(accuracy, len(images.validation), len(images.classes))
    why = f"it answers at chance {said}: is what it sees right (--teacher-eye), and are these its weights?"
    return Checked(own, (said,), refusal=why if lost else "", accuracy=accuracy)


def judge(found: Checked, anyway: bool, warn: Callable[[str], None]) -> None:
    """Raises Refusal for a teacher that should teach nobody, or warns where it is to teach `anyway`."""
    if found.refusal and anyway:
        warn(f"of the teacher, taken anyway: {found.refusal}")
    elif found.refusal:
        raise Refusal(
            f"A teacher knows what it teaches, but of '{found.net.called}': {found.refusal}. --teacher-anyway takes it "
            f"as it is."
        )
