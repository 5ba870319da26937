"""CARD.md: what is known of a student, on one page, for whoever is handed it. Imports neither torch nor ray."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kdsearch.results.format import percent, size, times

Facts = Mapping[str, Any]
"""Of search/card.py: what card.json holds."""

NOISE = 1.03
"""Times that are measured together differ by less, though nothing is slower."""

FORMATS = {
    "search": "in the search", "student.safetensors": "PyTorch", "model.onnx": "ONNX", "model.int8.onnx": "ONNX, int8",
    "architecture": "its architecture, untrained",
}  # fmt: skip


def card(found: Facts, licence: str = "") -> str:
    """The page; `licence`: what a user wrote under it before."""
    parts = [
        _what(found), _chosen(found), _recipe(found), _accuracy(found), _classes(found), _size(found), _speed(found),
        _input(found), _made(found),
    ]  # fmt: skip
    return "\n".join("\n".join(part) for part in parts) + "\n" + LICENCE + (licence or OPEN)


LICENCE = "## Licence\n"
"""From here on the page is its user's: what stands there stays."""

OPEN = """
- of this network: (yours to fill in)
- of the images that it learned from: (yours to fill in)
- of its teacher: (yours to fill in)
"""


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(names)} |"
    yield "|" + "---|" * len(names)
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


def _what(found: Facts) -> Iterator[str]:
    classes = found["classes"]
    named = ", ".join(classes[:12]) + (f", … ({len(classes)} classes)" if len(classes) > 12 else "")
    yield f"# {found['search']}, trial {found['trial']}\n"
    yield f"A classifier of images into {named}.\n"
    yield f"- network: {found['network']}"
    if found["teacher"]:
        worth = f"; {found['chosen']['metric']} {percent(found['teacher_accuracy'])} on the validation images"
        yield f"- teacher: {found['teacher']}{worth if found['teacher_accuracy'] else ''}"
    else:
        yield "- teacher: none; it learned from labels alone, or from answers that are made by hand"
    yield f"- images: {found['account'] or found['data']} (fingerprint {found['fingerprint']})\n"


def _chosen(found: Facts) -> Iterator[str]:
    chosen = found["chosen"]
    yield "## How it was chosen\n"
    kind = f"the reference {chosen['reference']}, which no sampler chose"
    if not chosen["reference"]:
        front = f"{'' if chosen['front'] else 'not '}on the front of {chosen['metric']} and {chosen['against']}"
        kind = f"one of {chosen['trials']:,} draws, {front}"
    by = {"grid": "a grid", "tpe": "Optuna's TPE", "random": "chance"}.get(chosen["sampler"] or "", "its sampler")
    yield f"Search {found['search']} (space {found['space']}), by {by}: {kind}; seed {found['seed']}."
    sure = chosen["confirmed"]
    if sure:
        half = "" if sure["half"] is None else f" ± {100 * sure['half']:.1f}"
        mean = f"{chosen['metric']} {100 * sure['mean']:.1f}{half} %"
        yield f"Confirmed with {sure['seeds']} new seeds: {mean} on the validation images."
    else:
        yield (
            "Not confirmed with other seeds: what is chosen for a high accuracy tends to be a little too high "
            "(`kdsearch confirm` measures by how much)."
        )
    yield from typical(found)
    yield ""


def typical(found: Facts) -> Iterator[str]:
    """Of a grid's cell, which of its seeds this one is."""
    if seeds := found.get("seeds"):
        half = "" if seeds["half"] is None else f" ± {100 * seeds['half']:.1f}"
        yield (
            f"Of the {seeds['seeds']} seeds of its cell ({100 * seeds['mean']:.1f}{half} %), trial {seeds['trial']} is "
            f"the nearest to the mean; the others: {', '.join(seeds['others'])}."
        )


COMPANIONS = {"dml": "peers (DML)", "one": "branches (ONE)", "byot": "exits (BYOT)"}
"""What trained beside a student."""


def _recipe(found: Facts) -> Iterator[str]:
    told = found["recipe"]
    yield "## How it was trained\n"
    by = [f"{told['epochs']} epochs"]
    if told["pairs"]:
        by.append(f"of these {told['hint_epochs']} by hints {told['pairs']} (the teacher's layer → its own)")
    if told["tau"] is not None:
        whose = "answers made by hand" if told["virtual"] else "the teacher's answers"
        by.append(f"λ {told['lambda']} on labels, the rest on {whose} at τ {told['tau']:.3g}")
    else:
        by.append("on labels at the end" if told.get("companions") else "on labels alone at the end")
    if beside := COMPANIONS.get(told.get("companions")):
        by.append(f"beside {beside}, which were dropped")
    if told.get("teachers", 1) > 1:
        by.append(f"{told['teachers']} teachers together")
    if told["terms"]:
        by.append(f"further terms: {', '.join(told['terms'])}")
    if told["links"] > 2:
        by.append(f"a chain of {told['links']} networks")
    yield f"{'; '.join(by)}; images changed by: {told['augment']}. config.yaml trains it again.\n"


def _accuracy(found: Facts) -> Iterator[str]:
    yield "## Accuracy\n"
    yield "With its 95 % interval over images (Wilson).\n"
    rows = []
    for one in found["accuracies"]:
        same = f"{one['same']:,}/{one['of']:,}" if "same" in one else "–"
        apart = f"{one['difference']:.1e}" if "difference" in one else "–"
        between = f"{100 * one['low']:.1f}–{100 * one['high']:.1f} %"
        rows.append(
            [FORMATS[one["format"]], one["precision"], f"{one['part']}, {one['of']:,} images",
             f"{100 * one['accuracy']:.2f} %", between, same, apart]
        )  # fmt: skip
    names = ("as", "precision", "images", "accuracy", "interval", "same answers as PyTorch", "largest logit difference")
    yield from _table(names, rows)


def _classes(found: Facts) -> Iterator[str]:
    own = found.get("class_accuracy")
    if not own:
        return
    rows = []
    for name, right in own.items():
        taken = found["confusion"][name]
        wrong = sorted(((count, other) for other, count in taken.items() if other != name), reverse=True)
        rows.append([name, str(sum(taken.values())), percent(right), ", ".join(f"{o} ({c})" for c, o in wrong[:3])])
    yield "### By class\n"
    yield "On the validation images, as the search saw them.\n"
    yield from _table(("class", "images", "accuracy", "taken for"), rows)


def _size(found: Facts) -> Iterator[str]:
    yield "## Size\n"
    yield f"- parameters: {found['parameters']:,} (its teacher has {times(found['compression'])} as many)"
    yield f"- multiply-accumulates of one image: {found['macs']:,}"
    yield from (f"- {name}: {size(count)}" for name, count in found["bytes"].items())
    yield ""


def _speed(found: Facts) -> Iterator[str]:
    yield "## Speed\n"
    rows = [
        [FORMATS[one["format"]], one["runtime"], _time(one["microseconds"]), _faster(one["ratio"]),
         _time(one["many"]), _faster(one["many_ratio"])]
        for one in found["speeds"]
    ]  # fmt: skip
    yield f"CPU time of an image, a thread of {found['machine']}: the shortest of many calls, warm.\n"
    yield from _table(("as", "run by", "alone", "teacher / it", "among 32", "teacher / it"), rows)
    if found["unmeasured"]:
        yield f"Without {found['unmeasured']}\n"
    yield from (f"{sentence}\n" for sentence in slower(found))


def _time(microseconds: float) -> str:
    return f"{microseconds:,.0f} µs" if microseconds >= 100 else f"{microseconds:.3g} µs"


def _faster(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.3g}"


def said(found: Facts) -> list[str]:
    """What deserves to be told of a student that is handed over, a sentence each."""
    return [*typical(found), *slower(found)]


def slower(found: Facts) -> list[str]:
    """Where int8 is no gain."""
    by = {one["format"]: one for one in found["speeds"]}
    plain, small = by.get("model.onnx"), by.get("model.int8.onnx")
    told = []
    for name, key in (("alone", "microseconds"), ("among 32", "many")):
        if plain and small and small[key] > NOISE * plain[key]:
            told.append(
                f"int8 is slower than float32 for an image {name}: {_time(small[key])} against {_time(plain[key])}; "
                f"model.onnx is the better choice there."
            )
    return told


def _input(found: Facts) -> Iterator[str]:
    there = found["input"]
    channels, height, width = there["image"]
    order = {1: "grey", 3: "red, green, blue"}.get(channels, f"{channels} channels")
    yield "## What it reads and gives\n"
    yield f"Pixels uint8, 0–255, N×{channels}×{height}×{width} ({order}), in model.py and in ONNX: the rest is inside:"
    mean, std = (", ".join(f"{value:.4g}" for value in there[name]) for name in ("mean", "std"))
    turned = " after the channels were reversed" if there["order"] == "bgr" else ""
    yield f"(pixel / 255 − mean) / std with mean {mean} and std {std}{turned}."
    yield f"A picture comes to such pixels {there['brought']}."
    if there["range"]:
        low, high = there["range"]
        yield f"Its pictures had more than 8 bits a value: {low:g} became 0, and {high:g} became 255."
    yield f"It gives {len(found['classes'])} logits, by the place of the classes above (card.json has all names).\n"


def _made(found: Facts) -> Iterator[str]:
    yield "## Versions\n"
    told = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    yield f"Handed over with {told} on {found['machine']}."
    yield f"Trained with torch {found['trained']['torch']} on {found['trained']['machine']}.\n"
