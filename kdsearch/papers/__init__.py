"""The papers: their printed tables made again; their networks and methods, as spaces name them."""

from kdsearch.config.papers import (
    CHAIN,
    HINTING,
    MNIST_STUDENT,
    MNIST_TEACHER,
    RESNET18,
    SIX_CONV,
    STUDENTS,
)
from kdsearch.config.published import METHODS, TEMPERATURES, WEIGHTS

__all__ = [
    "CHAIN",
    "HINTING",
    "METHODS",
    "MNIST_STUDENT",
    "MNIST_TEACHER",
    "RESNET18",
    "SIX_CONV",
    "STUDENTS",
    "TEMPERATURES",
    "WEIGHTS",
]
