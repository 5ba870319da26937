"""Does a deeper student learn more from the same hint?

A filled dot is the mean over seeds of a student of so many convolutions, the line through it the 95 % interval of that
mean; small dots are the seeds. Depth pays where the dots rise by more than their lines are long. Deeper students are
also larger (the table has their parameters), so that a rise is no gain for free. Hollow circles are what the
paper printed, by the protocol under the picture; where these are of other data, only their order can be compared.
"""

from typing import Any

from kdsearch.results.facts import Facts
from kdsearch.results.tables import Tables

from . import captions, intervals

ARMS = {"1→1": "3", "1→2": "6", "1→3": "9", "1→4": "12"}
"""Convolutions, by the pairs that the tables name."""


def chart(tables: Tables, facts: Facts) -> Any:
    """The four students, shallow to deep."""
    table = captions.of_data(facts, "seed1-table3", "seed1-table4")
    return intervals.by_arm(tables, facts, "depth", list(ARMS.values()), {table: ARMS})
