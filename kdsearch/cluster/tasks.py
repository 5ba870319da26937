"""Ray tasks followed: started so many at a time, each heard in its turn, gone on with where its process was lost."""

import threading
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from kdsearch.errors import cause_of

RETRIES = 2
"""Times that work goes on elsewhere after its process or node was lost."""
LOST = "its process ended without a word (killed, or out of memory)"
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Tasks:
    """How Ray tasks are started and followed."""

    resources: Mapping[str, float]
    most: int | None
    """At a time."""
    pressed: threading.Event
    """Ctrl-C."""

    def follow(self, work: Any, asked: Mapping[Key, Any]) -> Iterator[tuple[Key, dict[str, Any]]]:
        """What tasks say, as they say it: a failure has a `cause` (or `full`) and a `trace`, a good end is empty.

        One whose process was lost goes on from its checkpoint, so that it may tell rows again.
        """
        # Ray's own retries would leave out as many rows as were heard, but work that goes on tells others.
        task = ray.remote(num_cpus=self.resources["cpu"], num_gpus=self.resources["gpu"], max_retries=0)(work)
        waiting, running, lost = list(asked), {}, Counter()
        try:
            yield from self._followed(task, asked, waiting, running, lost)
        finally:
            for left in running if ray.is_initialized() else ():  # nobody hears them any more
                ray.cancel(left, force=True)

    def _followed(
        self, task: Any, asked: Mapping[Key, Any], waiting: list[Key], running: dict[Any, Key], lost: Counter[Key]
    ) -> Iterator[tuple[Key, dict[str, Any]]]:
        while waiting or running:
            while waiting and len(running) < (self.most or len(asked)):
                key = waiting.pop(0)
                running[task.options(num_returns="streaming").remote(asked[key])] = key
            ready: Any = ray.wait(list(running), num_returns=1)[0][0]
            key, said = running.pop(ready), _next(ready)
            if said.pop("lost", False):
                lost[key] += 1
                if lost[key] <= RETRIES:
                    waiting.insert(0, key)
                    continue
                said["cause"] += f", {lost[key]} times"
            if said and not said.keys() & {"cause", "full"}:
                running[ready] = key  # behind the others, so that each has its turn
            yield key, said
            if self.pressed.is_set():
                raise KeyboardInterrupt


def _next(task: Any) -> dict[str, Any]:
    try:
        said: Any = ray.get(next(task))
        return dict(said)
    except StopIteration:
        return {}
    except RayTaskError as error:
        return {"cause": cause_of(error.cause), "trace": str(error)}
    except RayError as error:
        return {"cause": LOST, "trace": str(error), "lost": True}
