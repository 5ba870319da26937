"""Which assistant should stand between a large teacher and a small student, if any?

A filled dot is the mean over seeds of the student of two convolutions, the line through it the 95 % interval of that
mean; small dots are the seeds. “labels” had no teacher, “none” the teacher itself, the others an assistant of so many
convolutions or all three in turn: an assistant pays where its dot lies above the line of “none”. An assistant is
trained once, and its own luck is in no interval. Hollow circles are what the paper printed, by the protocol under the
picture.
"""

from typing import Any

from kdsearch.results.facts import Facts
from kdsearch.results.tables import Tables

from . import intervals

ROWS = {"labels": "labels", "KD": "none", "4": "4", "6": "6", "8": "8", "8→6→4": "8→6→4"}
"""Assistants by the rows of the table."""


def chart(tables: Tables, facts: Facts) -> Any:
    """Nobody, the teacher, one assistant, all three."""
    return intervals.by_arm(tables, facts, "assistant", list(ROWS.values()), {"seed2-table3": ROWS})
