"""The papers: their printed tables made again; their networks, as spaces name them."""

from kdsearch.config.papers import (
    CHAIN,
    HINTING,
    MNIST_STUDENT,
    MNIST_TEACHER,
    RESNET18,
    SIX_CONV,
    STUDENTS,
)

__all__ = ["CHAIN", "HINTING", "MNIST_STUDENT", "MNIST_TEACHER", "RESNET18", "SIX_CONV", "STUDENTS"]
