"""The shipped cluster file and one for this machine alone, as tests change them."""

import sys
from importlib import metadata
from pathlib import Path

from kdsearch.cluster import file

ROOT = Path(__file__).parents[1]


def ours(text: str) -> str:
    """The shipped file with the versions that are installed here."""
    here = "{}.{}".format(*sys.version_info)
    return text.replace("2.60.0", metadata.version("ray")).replace("--python 3.11", f"--python {here}")


SHIPPED = ours(file.SHIPPED.read_text())
LOCAL = (ROOT / "tests" / "cluster" / "loopback.yaml").read_text().replace("WORK", "/nfs").replace("USER", "me")


def written(folder: Path, text: str) -> Path:
    path = folder / "cluster.yaml"
    path.write_text(text)
    return path
