"""Does a softened answer help a student that has half of its teacher's size?

A filled dot is the mean over seeds of students taught by labels alone or by KD, the line through it the 95 % interval
of that mean; small dots are the seeds. KD helps where its dot lies above the other's line: near the ceiling that takes
many seeds. Hollow circles are what the paper printed, means of 20 runs on MNIST's test images, by the protocol under
the picture.
"""

from typing import Any

from kdsearch.results.facts import Facts
from kdsearch.results.tables import Tables

from . import intervals

ARMS = ["labels", "KD"]


def chart(tables: Tables, facts: Facts) -> Any:
    """Labels beside KD."""
    return intervals.by_arm(tables, facts, "taught", ARMS, {"seed2-table1": {name: name for name in ARMS}})
