"""The command line: a file a command."""

from kdsearch.cli.app import main

__all__ = ["main"]
