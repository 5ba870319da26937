"""Where should the hint sit: early, in the middle, late, or nowhere?

A filled dot is a cell's mean over its seeds, the line through it the 95 % interval of that mean; small dots are the
seeds. Cells whose intervals overlap widely cannot be told apart, whatever their order. 1→3 hints the end of the first
block, 2→6 the second's, 3→9 the last's; KD has softened answers alone, labels not even these. Hollow circles are what
the paper printed, by the protocol under the picture; where these are of other data, only their order can be compared.
"""

from typing import Any

from kdsearch.results.facts import Facts
from kdsearch.results.tables import Tables

from . import captions, intervals

ARMS = ["labels", "KD", "1→3", "2→6", "3→9"]


def chart(tables: Tables, facts: Facts) -> Any:
    """The five cells, early to late."""
    table = captions.of_data(facts, "seed1-table1", "seed1-table2")
    return intervals.by_arm(tables, facts, "hint", ARMS, {table: {name: name for name in ARMS}})
