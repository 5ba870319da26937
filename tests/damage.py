"""What may happen to files: bytes flipped or cut off, tables and JSON with values that cannot be."""

import copy
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from kdsearch.data import images
from kdsearch.search import look, spaces

MORE = int(os.environ.get("KDSEARCH_EXAMPLES", "1"))
"""Times the usual examples, then drawn anew each time."""


def examples(count: int) -> Any:
    return settings(
        max_examples=count * MORE, deadline=None, derandomize=MORE == 1, phases=[Phase.generate], database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )  # fmt: skip


def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches look at six draws, and read each data set once."""
    plain = images.load
    monkeypatch.setattr(look, "DRAWS", 6)
    monkeypatch.setattr(spaces, "PATIENCE", 0.7)
    loaded: dict[str, Any] = {}

    def once(described: Any, *more: Any) -> Any:
        key = described.model_dump_json()
        if key not in loaded:
            loaded[key] = plain(described, *more)
        return loaded[key]

    monkeypatch.setattr(look, "load", once)


ODD = (None, True, -1, 0, 3.5, 10**30, float("nan"), float("inf"), "", "x", "3", [], [None], {}, {"x": 1})
"""Values of other kinds, and out of any range."""
GONE = object()
share = st.floats(0, 1, exclude_max=True)
"""A place in a file, as a share of its length."""


def flipped(whole: bytes, places: list[float], mask: int) -> bytes:
    found = bytearray(whole)
    for place in places:
        found[int(place * len(found))] ^= mask
    return bytes(found)


bytes_flipped = st.tuples(st.lists(share, min_size=1, max_size=3), st.integers(1, 255)).map(
    lambda told: lambda whole: flipped(whole, *told)
)
bytes_cut = share.map(lambda place: lambda whole: whole[: int(place * len(whole))])
damaged_bytes = st.one_of(bytes_flipped, bytes_cut)
"""Functions from a file's bytes to others."""


def places(plain: Any, path: tuple = ()) -> Iterator[tuple]:
    """All paths into plain data but the empty one."""
    inside = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    for key, value in inside:
        yield (*path, key)
        yield from places(value, (*path, key))


def changed(plain: Any, place: float, odd: Any) -> Any:
    """Plain data with another value at one place, or without it."""
    plain = copy.deepcopy(plain)
    found = list(places(plain))
    if not found:
        return odd if odd is not GONE else {}
    *path, last = found[int(place * len(found))]
    node = plain
    for key in path:
        node = node[key]
    if odd is GONE:
        del node[last]
    else:
        node[last] = odd
    return plain


odd_values = st.sampled_from((*ODD, GONE))
changed_json = st.tuples(share, odd_values).map(
    lambda told: lambda whole: json.dumps(changed(json.loads(whole), *told)).encode()
)


def line_changed(whole: bytes, line: float, what: str, place: float, odd: Any) -> bytes:
    """A file of JSON lines with one of them dropped, doubled, swapped with the next, or changed at one place."""
    lines = whole.splitlines(keepends=True)
    at = int(line * len(lines))
    own = json.dumps(changed(json.loads(lines[at]), place, odd)).encode() + b"\n"
    told = {"drop": [], "double": [lines[at]] * 2, "swap": lines[at : at + 2][::-1], "change": [own]}
    return b"".join([*lines[:at], *told[what], *lines[at + (2 if what == "swap" else 1) :]])


changed_lines = st.tuples(
    share, st.sampled_from(["drop", "double", "swap", "change", "change", "change"]), share, odd_values
).map(lambda told: lambda whole: line_changed(whole, *told))


def column_changed(path: Path, column: float, row: float, what: str, odd: Any) -> None:
    """A table without a column, with one of another kind, or with one odd value; without a row, or with one twice."""
    table = pq.read_table(path)
    name = table.column_names[int(column * table.num_columns)]
    at = int(row * table.num_rows)
    if what == "drop column":
        table = table.drop_columns([name])
    elif what == "drop row":
        table = pa.concat_tables([table[:at], table[at + 1 :]])
    elif what == "double row":
        table = pa.concat_tables([table, table[at : at + 1]])
    else:
        values = table[name].to_pylist()
        odd = None if odd is GONE else odd
        values = [odd] * len(values) if what == "column" else [*values[:at], odd, *values[at + 1 :]]
        try:
            own = pa.array([str(value) if value == {} else value for value in values])
        except (pa.ArrowException, OverflowError, TypeError):
            own = pa.array([str(value) for value in values])
        table = table.set_column(table.column_names.index(name), name, own)
    pq.write_table(table, path)


column_changes = st.tuples(
    share, share, st.sampled_from(["drop column", "drop row", "double row", "column", "value", "value"]), odd_values
)
