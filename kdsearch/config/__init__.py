"""The words a space is written in."""

from kdsearch.config.net import Net, Part, ResNet
from kdsearch.config.pipeline import KD, Budget, Data, Fit, Hints, Link, Pair, Pipeline

__all__ = ["KD", "Budget", "Data", "Fit", "Hints", "Link", "Net", "Pair", "Part", "Pipeline", "ResNet"]
