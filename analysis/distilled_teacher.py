"""Does a student of a student learn more: for how many generations?

A filled dot is the mean over seeds of a generation, the line through it the 95 % interval of that mean; small dots are
the seeds. Generation 0 learns from labels alone, 1 from ResNet-18, 2 and 3 from a student of the generation before;
it pays to go on as long as a dot lies above the line before it. Seeds vary the last student alone: the teachers of a
generation are one chain. Hollow circles are what the paper printed, by the protocol under the picture: its student that
teaches stands at generation 1, though a student like itself had taught it, and its best pupil of T = 4 at 2.
"""

from typing import Any

from kdsearch.results.facts import Facts
from kdsearch.results.tables import Tables

from . import intervals

ROWS = {"labels": "0", "teacher": "1", "α=0.4 T=4": "2"}
"""Generations by the rows of the table."""


def chart(tables: Tables, facts: Facts) -> Any:
    """Four generations."""
    return intervals.by_arm(tables, facts, "generation", [*ROWS.values(), "3"], {"seed2-distilled-teacher": ROWS})
