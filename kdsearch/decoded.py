"""Images decoded once: a copy on disk for the next process."""

import hashlib
import json
import os
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from kdsearch import cache, sources


def decoded(
    name: str, part: str, data_dir: Path, wanted: sources.Wanted, progress: sources.Progress
) -> tuple[Tensor, Tensor, list[str], str]:
    """Pixels, labels, class names, fingerprint of a part (train or test): from the cache, else read and cached.

    Raises Refusal for images that cannot be read.
    """
    path = cache.folder() / "images" / f"{_source_key(name, part, data_dir, wanted)}.safetensors"
    try:
        with safe_open(path, framework="pt") as file:
            meta, pixels, labels = file.metadata(), file.get_tensor("pixels"), file.get_tensor("labels")
            classes = json.loads(meta["classes"])
            if meta["fingerprint"] == _fingerprint(pixels, labels, classes):
                return pixels, labels, classes, meta["fingerprint"]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        pass  # not there, or damaged: it is only a copy, made anew below
    pixels, labels, classes = sources.read(name, part, data_dir, wanted, progress)
    fingerprint = _fingerprint(pixels, labels, classes)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{os.getpid()}.{path.name}")
    save_file({"pixels": pixels, "labels": labels}, draft, {"classes": json.dumps(classes), "fingerprint": fingerprint})
    os.chmod(draft, 0o644)  # others on a shared disk read it too
    os.replace(draft, path)
    return pixels, labels, classes, fingerprint


def _fingerprint(pixels: Tensor, labels: Tensor, classes: list[str]) -> str:
    digest = hashlib.sha256(json.dumps([list(pixels.shape), classes]).encode())
    digest.update(pixels.numpy().data)
    digest.update(labels.numpy().data)
    return digest.hexdigest()[:16]


def _source_key(name: str, part: str, data_dir: Path, wanted: sources.Wanted) -> str:
    """Changes whenever the files of a folder do; torchvision checks the sums of its own files when they arrive."""
    path = sources.folder(name)
    if path is None:
        parts: list = [name, str(data_dir.resolve()) if name != "digits" else ""]
    else:
        root = (path / part).resolve()
        files = sorted(root.glob("*/*")) if root.is_dir() else []
        stats = [(str(file), *_size_and_time(file)) for file in files]
        parts = [str(root), hashlib.sha256(json.dumps(stats).encode()).hexdigest()]
    return hashlib.sha256(json.dumps([part, wanted.size, wanted.grey, *parts]).encode()).hexdigest()[:16]


def _size_and_time(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_size, found.st_mtime_ns
