"""kdsearch: find the best small network for a given teacher, by searching over how its knowledge is distilled.

What a notebook imports. A name is loaded when it is first asked for, so that importing kdsearch costs nothing.
"""

import os
from importlib import import_module
from typing import Any

__version__ = "0.1.0"
HOMES = {
    "kdsearch.search.tune": ("tune",),
    "kdsearch.search.checked": ("teacher",),
    "kdsearch.search.deployed": ("Deployed", "load"),
    "kdsearch.search.opened": ("Search", "open", "spaces"),
    "kdsearch.search.replicate": ("train",),
    "kdsearch.search.compared": ("replay",),
    "kdsearch.errors": ("Refusal",),
    "kdsearch.config": (
        "KD", "Budget", "Data", "Eye", "Fit", "Hints", "Link", "Net", "Own", "Pair", "Pipeline", "ResNet",
    ),
}  # fmt: skip
"""Where each name lives."""
__all__ = ["__version__", *sorted(name for names in HOMES.values() for name in names)]  # pyright: ignore


# Ray prints a lost worker at length, whatever it is told to log; a search says it in its own words. Ray reads this when
# it is imported, by whichever of our files comes first.
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "A worker died or was killed")


def __getattr__(name: str) -> Any:
    for home, names in HOMES.items():
        if name in names:
            found = globals()[name] = getattr(import_module(home), name)
            return found
    raise AttributeError(f"module 'kdsearch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
