"""What a search has spent, and what front it had for that: pure functions over its tables."""

from collections.abc import Callable, Mapping
from typing import Any

from kdsearch.results import files, front
from kdsearch.results.facts import Facts
from kdsearch.results.tables import Tables

COSTS = ("epochs", "weighted_epochs", "seconds")
"""Passes over the training images; these, each times the multiply-accumulates of the forward pass of all that trains,
companions too, for one image (a hint stage, which trains the first layers alone, counts no less); seconds of training,
validation aside, added up over what ran side by side."""

KINDS = ("students", "references", "teachers", "recording")


Row = Mapping[str, Any]


def spent(tables: Tables, facts: Facts) -> dict[str, dict[str, Any]]:
    """COSTS of each of KINDS, and the `count` of networks (of recording: views) that they were spent on.

    `students`: those that were drawn, whatever became of them; `references`: theirs; `teachers`: the teacher and the
    assistants, 0 where the store had them; `recording`: a teacher asked for its answers, in epochs that train nothing.
    weighted_epochs is None where the tables do not know a network's multiply-accumulates.
    """
    rows: dict[str, list[Row]] = {kind: [] for kind in KINDS}
    links = _student_links(tables)
    for row in tables.epochs:
        rows[_kind(row, tables, links)].append(row)
    students = {name: _macs(trial) for name, trial in tables.trials.items()}
    teachers = {name: network.macs for name, network in facts.networks.items()}
    return {
        "students": _sum(rows["students"], students, _trial),
        "references": _sum(rows["references"], students, _trial),
        # A trial that had to train its assistant itself: its `macs` are its student's.
        "teachers": _sum(rows["teachers"], teachers, lambda row: (row["trial"], row["link"])),
        "recording": _sum(rows["recording"], {}, lambda row: (row["trial"], row["link"], row["epoch"])),
    }


def growth(tables: Tables, facts: Facts) -> list[dict[str, Any]]:
    """A row each time a draw was completed, in the order in which their last epochs came in: `trial`, how many were
    `completed` by then, COSTS of all draws by then (stopped and unfinished ones count) and the front's `hypervolume`:
    decades of compression (or what it is set against) × share of the images, above 1 and chance accuracy."""
    links, ends = _student_links(tables), _ends(tables)
    ended: list[Row] = []
    found: list[dict[str, Any]] = []
    costs: dict[str, Any] = dict.fromkeys(COSTS, 0)
    for place, row in enumerate(tables.epochs):
        if _kind(row, tables, links) != "students":
            continue
        own = tables.trials[row["trial"]]
        costs = {
            "epochs": costs["epochs"] + 1,
            "weighted_epochs": costs["weighted_epochs"] + _macs(own),
            "seconds": costs["seconds"] + row["seconds"],
        }
        if place in ends:
            ended.append(own)
            area = front.reached(ended, facts.chance)
            if facts.seeds == 1:  # else a seed to come may still lift, or sink, a mean
                members = set(front.members(ended))
                ended = [row for row in ended if row["trial"] in members]
            found.append({"trial": row["trial"], "completed": len(found) + 1, **costs, "hypervolume": area})
    return found


def _sum(rows: list[Row], macs: Mapping[str, int | None], of: Callable[[Row], Any]) -> dict[str, Any]:
    weights = [macs.get(row["trial"]) for row in rows]
    known = [weight for weight in weights if weight is not None]
    return {
        "count": len({of(row) for row in rows}),
        "epochs": len(rows),
        "weighted_epochs": sum(known) if len(known) == len(rows) else None,
        "seconds": sum(row["seconds"] for row in rows),
    }


def _macs(trial: Row) -> int:
    """In training; older tables lack what companions add, as none had any."""
    return trial.get("training_macs") or trial["macs"]


def _trial(row: Row) -> str:
    return row["trial"]


def _kind(row: Row, tables: Tables, links: Mapping[str, int]) -> str:
    """Of KINDS. A link before the student's is a teacher, even where the trial itself had to train it."""
    if row["stage"] == "record":
        return "recording"
    if row["link"] != links.get(row["trial"]):
        return "teachers"
    return "references" if tables.trials[row["trial"]]["reference"] else "students"


def _student_links(tables: Tables) -> dict[str, int]:
    """The number of each trial's last link; of the teacher and assistants, which are no trials, there is none."""
    return {name: files.links(trial) - 1 for name, trial in tables.trials.items()}


def _ends(tables: Tables) -> set[int]:
    """Places of the last epochs of fully trained draws."""
    places = {row["trial"]: place for place, row in enumerate(tables.epochs) if row["stage"] != "record"}
    trials = tables.trials
    return {at for name, at in places.items() if name in trials and trials[name]["state"] == "complete"}
