"""Do several hints teach more than one?

A filled dot is a cell's mean over its seeds, the line through it the 95 % interval of that mean; small dots are the
seeds. Single hints stand on the left: several pay where they lie above the best of their own single hints, beyond the
lines. Hollow circles are what the paper printed: single hints from one of its tables, two hints from another, each by
the protocol under the picture, which differ in what the hint's loss was; it had no run with all three.
"""

from typing import Any

from kdsearch.results.facts import Facts
from kdsearch.results.tables import Tables

from . import captions, intervals

SINGLE = {"1→3": "1", "2→6": "2", "3→9": "3"}
SEVERAL = {"1→3 2→6": "1+2", "2→6 3→9": "2+3", "1→3 3→9": "1+3"}
"""Hints by the pairs that the tables name."""


def chart(tables: Tables, facts: Facts) -> Any:
    """The seven cells: one hint, two, three."""
    single = captions.of_data(facts, "seed1-table1", "seed1-table2")
    several = captions.of_data(facts, "seed1-table5", "seed1-table6")
    arms = [*SINGLE.values(), *SEVERAL.values(), "1+2+3"]
    return intervals.by_arm(tables, facts, "hints", arms, {single: SINGLE, several: SEVERAL})
