"""The table of methods on docs/methods.md, made from what the code declares. `python -m kdsearch.papers.methods`"""

from collections.abc import Iterator

from kdsearch.config.net import ResNet
from kdsearch.config.part import Ramp, Weight
from kdsearch.config.pipeline import Fit, Link
from kdsearch.config.published import METHODS
from kdsearch.distill.terms import Stage, stages
from kdsearch.nets.survey import Answer, extra, survey

TEACHER = ResNet(kind="resnet", widths=(16, 32, 64), blocks=2)
STUDENT = ResNet(kind="resnet", widths=(16, 32, 64), blocks=1)
IMAGE, CLASSES = (3, 32, 32), 10
HEADING = ("method", "knowledge", "strategy", "equation", "needs", "bytes", "default", "source")


def table() -> str:
    """In Markdown: `bytes` of one view of one image, recorded, of ResNet-14 for ResNet-8 on CIFAR-10."""
    lines = [HEADING, ("---",) * len(HEADING), *map(_row, METHODS)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(name: str) -> tuple[str, ...]:
    own = METHODS[name]
    link = Link(net=STUDENT, fit=Fit(epochs=10), **own.link(TEACHER, STUDENT))
    maps = survey(STUDENT, IMAGE, CLASSES).maps, survey(TEACHER, IMAGE, CLASSES).maps
    found = list(stages(link, TEACHER, lambda: maps))
    answers = {Answer.of(survey(TEACHER, IMAGE, CLASSES), one) for stage in found for one in stage.asks}
    needs = [_said(answer.kind) for answer in sorted(answers, key=lambda answer: answer.name)]
    needs += ["the teacher itself"] if any(stage.live for stage in found) else []
    if more := extra(link, IMAGE, CLASSES)[1]:
        needs.append(f"{1 + more / survey(STUDENT, IMAGE, CLASSES).macs:.2g} times the multiplications")
    size = f"{sum(answer.bytes for answer in answers):,}" if answers else "–"
    told = "; ".join(dict.fromkeys(filter(None, map(_weights, found))))
    cells = (own.knowledge, own.strategy, own.equation, ", ".join(dict.fromkeys(needs)), size, told, own.source)
    return (name, *cells)


def _said(kind: str) -> str:
    """`attention5` -> `attention maps`."""
    words = {"map": "map", "attention": "attention maps", "flow": "flows"}
    return next((word for start, word in words.items() if kind.startswith(start)), kind)


def _weights(stage: Stage) -> str:
    """`0.1 ce + 0.9 kd`; of a first stage, whose one loss has no weight to tell, nothing."""
    return " + ".join(_weighted(stage)) if stage.name != "hint" else ""


def _weighted(stage: Stage) -> Iterator[str]:
    for name, weight in stage.weights.items():
        yield name if weight == 1 else f"{_number(weight)} {name}"


def _number(weight: Weight) -> str:
    return f"({weight.start:g} to {weight.end:g})" if isinstance(weight, Ramp) else f"{weight:g}"


if __name__ == "__main__":
    print(table())
