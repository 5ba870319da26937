"""A teacher's answers about training images, read from memory-mapped files, and first recorded."""

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from kdsearch.data.memory import Images, moved_to
from kdsearch.data.pictures import Progress
from kdsearch.data.views import Batch
from kdsearch.distill.weights import Taught
from kdsearch.errors import Refusal, first_line, nobody
from kdsearch.nets import survey as nets_survey
from kdsearch.nets.derived import Asked, Views, ordered
from kdsearch.nets.survey import Survey
from kdsearch.nets.taps import answered
from kdsearch.storage import cache

FORMAT = 2
"""Raised whenever a recorded file would hold something else."""

CHUNK = 250
"""Images a forward pass, where there is no batch to follow."""

UNKNOWN = "?" * 64
"""Holds the place of a hash in a header."""


@dataclass
class Recorded:
    """Answers read from memory-mapped files, a file for each view and kind; recorded where they are lacking."""

    teacher: Taught
    survey: Survey
    """Of the teacher."""
    asks: tuple[Asked, ...]
    images: Images
    """As the teacher sees them."""
    folder: Path
    """Of this teacher."""
    limit: int
    progress: Progress
    tell: Callable[[str], None] = nobody
    """Hears of files that are damaged."""
    sides: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """Of maps that are averaged to them."""
    opened: dict[tuple[int, Asked], Tensor] = field(default_factory=dict)
    """(N, …) by view and answer."""

    def ready(self, views: Iterable[int]) -> Iterator[tuple[int, float]]:
        """Open these views' files; yields (view, seconds) for each that this process had to record."""
        for view in dict.fromkeys(views):
            if (view, self.asks[0]) in self.opened:
                continue
            self.folder.mkdir(parents=True, exist_ok=True)
            with cache.lock(self.folder / f"{view}.lock"):  # who comes second waits, then finds it
                started = time.perf_counter()
                lacking = [answer for answer in self.asks if not self._open(view, answer)]
                if lacking:
                    self._record(view, lacking)
                if not all([self._open(view, answer) for answer in lacking]):
                    raise Refusal(
                        f"What was recorded in '{self.folder}' is gone at once: others need the room. "
                        f"Raise KDSEARCH_CACHE_LIMIT."
                    )
            if lacking:
                yield view, time.perf_counter() - started

    def __call__(self, batch: Batch) -> dict[Asked, Tensor]:
        """The answers about a batch, by layer, on the device of its pixels."""
        count = len(self.images.train)
        views, rows = batch.samples // count, batch.samples % count
        own = views.unique().tolist()
        return {answer: self._read(own, views, rows, answer, batch.pixels.device) for answer in self.asks}

    def _read(self, own: list[int], views: Tensor, rows: Tensor, answer: Asked, device: torch.device) -> Tensor:
        first = self.opened[own[0], answer]
        if len(own) == 1:
            found = first[rows]
        else:  # the end of one pass over a fraction and the beginning of the next
            found = first.new_empty(len(rows), *first.shape[1:])
            for view in own:
                found[views == view] = self.opened[view, answer][rows[views == view]]
        found = moved_to(found, device)
        return found.permute(0, 3, 1, 2) if found.dim() == 4 else found

    def _path(self, view: int, answer: Asked) -> Path:
        return self.folder / f"view{view}-{self._name(answer)}.safetensors"

    def _name(self, answer: Asked) -> str:
        side = self.sides.get(answer) if isinstance(answer, int) else None
        return nets_survey.Answer.of(self.survey, answer, side).name

    def _facts(self, view: int, answer: Asked) -> dict[str, str]:
        return {"format": str(FORMAT), "key": self.folder.name, "view": str(view), "answer": self._name(answer)}

    def _open(self, view: int, answer: Asked) -> bool:
        """Open a file; False where there is none, or where it is damaged, which is told."""
        path = self._path(view, answer)
        try:
            stat = path.stat()
            found = _mapped(path, stat.st_ino, stat.st_mtime_ns, json.dumps(self._facts(view, answer)))
            cache.touch(path)
        except FileNotFoundError:
            return False
        except (OSError, SafetensorError, ValueError) as error:
            self.tell(f"The recorded answers '{path}' are damaged ({first_line(error)}); they are recorded anew.")
            path.unlink(missing_ok=True)
            return False
        self.opened[view, answer] = found
        return True

    def _record(self, view: int, answers: list[Asked]) -> None:
        """One forward pass over all training images; the logits join where they are lacking, for they are small."""
        logits = len(self.survey.maps) + 1
        if not self._open(view, logits):
            answers = list(ordered((*answers, logits)))
        files: dict[Asked, Callable[[Tensor], None]] = {}

        def write(found: dict[Asked, Tensor]) -> None:
            for answer, rows in found.items():
                files[answer](rows)

        # The disk works while the teacher does, one chunk behind.
        with ExitStack() as drafts, ThreadPoolExecutor(1) as writer:
            written: Future[None] | None = None
            for done, found in self._answers(view, answers):
                for answer in found.keys() - files.keys():
                    files[answer] = drafts.enter_context(self._draft(view, answer, found[answer]))
                if written:
                    written.result()
                written = writer.submit(write, found)
                self.progress(f"recording view {view}", done, len(self.images.train))
            if written:
                written.result()

    def _answers(self, view: int, answers: list[Asked]) -> Iterator[tuple[int, dict[Asked, Tensor]]]:
        count, teacher = len(self.images.train), self.teacher.net
        for rows in torch.arange(count).split(CHUNK):
            samples = view * count + rows
            views = Views(self.images.pixels(samples), samples, self.images.bounds)
            with self.images.autocast():
                found = answered(teacher, views, answers, self.teacher.names, self.sides)
            # Channels last, as the student's maps will be.
            plain = {n: a.permute(0, 2, 3, 1) if a.dim() == 4 else a for n, a in found.items()}
            yield int(rows[-1]) + 1, {n: a.cpu().contiguous() for n, a in plain.items()}

    @contextmanager
    def _draft(self, view: int, answer: Asked, rows: Tensor) -> Iterator[Callable[[Tensor], None]]:
        """A file in the safetensors format, and what adds rows to it; `rows` are the first of its answers."""
        shape = (len(self.images.train), *rows.shape[1:])
        size = math.prod(shape) * rows.element_size()
        kind = {torch.float16: "F16", torch.float32: "F32"}[rows.dtype]
        answers = {"dtype": kind, "shape": shape, "data_offsets": (0, size)}
        head = json.dumps({"__metadata__": self._facts(view, answer) | {"hash": UNKNOWN}, "answers": answers}).encode()
        head += b" " * (-len(head) % 8)
        path, seen = self._path(view, answer), hashlib.sha256()
        with cache.draft(path, 8 + len(head) + size, self.limit) as sketch, open(sketch, "r+b", buffering=0) as file:

            def put(some: Tensor) -> None:
                seen.update(some.numpy().data)
                file.write(some.numpy().data)

            file.write(len(head).to_bytes(8, "little") + head)
            yield put
            file.seek(8)
            file.write(head.replace(UNKNOWN.encode(), seen.hexdigest().encode()))
            os.fsync(file.fileno())


@lru_cache(maxsize=32)
def _mapped(path: Path, inode: int, changed: int, facts: str) -> Tensor:
    """A file's answers, memory-mapped and checked, once a process; raises ValueError where it holds something else."""
    with safe_open(path, framework="pt") as file:
        told, found = file.metadata() or {}, file.get_tensor("answers")
    if {name: value for name, value in told.items() if name != "hash"} != json.loads(facts):
        raise ValueError("it holds other answers than its name says")
    if found.dtype != (torch.float32 if told["answer"].startswith("logits") else torch.float16):
        raise ValueError(f"its answers are {found.dtype}")
    if told.get("hash") != hashlib.sha256(found.numpy().data).hexdigest():
        raise ValueError("its answers are not those that were written")
    return found
