"""Is a better network needed at all to teach: what do a student's own twin, or a teacher made by hand, do?

A filled dot is a cell's mean over its seeds, the line through it the 95 % interval of that mean; small dots are the
seeds. “itself” is a twin that labels had taught, at three temperatures; “virtual” gives the true class 0.99 or 0.9 and
all others the same. Where both lie above labels alike, softening is what helps, not what a network knows. Hollow
circles are what the paper printed, by the protocol under the picture; it had no virtual teacher.
"""

from typing import Any

from kdsearch.results.facts import Facts
from kdsearch.results.tables import Tables

from . import intervals

OWN = {"labels": "labels", "α=0.4 T=2": "itself, T 2", "α=0.4 T=4": "itself, T 4", "α=0.4 T=10": "itself, T 10"}
"""Teachers by the rows of the table."""
VIRTUAL = ["virtual, 0.99", "virtual, 0.9"]


def chart(tables: Tables, facts: Facts) -> Any:
    """No teacher, the twin, the teachers made by hand."""
    return intervals.by_arm(tables, facts, "teacher", [*OWN.values(), *VIRTUAL], {"seed2-teacher-free": OWN})
