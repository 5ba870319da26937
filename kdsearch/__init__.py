"""kdsearch: find the best small network for a given teacher, by searching over how its knowledge is distilled."""

__version__ = "0.1.0"
