"""What the tests share: a cache of their own, and the digits."""

import os
import tempfile
from pathlib import Path

import pytest

os.environ["KDSEARCH_CACHE"] = tempfile.mkdtemp(prefix="kdsearch-tests-")

from kdsearch import data
from kdsearch.config import Data


@pytest.fixture(scope="session")
def images() -> data.Images:
    return data.load(Data(), Path("nowhere"))
