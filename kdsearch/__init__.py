"""kdsearch: find the best small network for a given teacher, by searching over how its knowledge is distilled."""

import os

__version__ = "0.1.0"

# Ray prints a lost worker at length, whatever it is told to log; a search says it in its own words. Ray reads this when
# it is imported, by whichever of our files comes first.
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "A worker died or was killed")
