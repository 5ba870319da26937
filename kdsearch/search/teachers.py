"""The teacher and the assistants of a search: trained first, once, as Ray tasks, through the store."""

from collections import Counter
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from kdsearch.cluster.tasks import LOST, RETRIES
from kdsearch.config.pipeline import Pipeline
from kdsearch.distill.store import key_of, read_facts
from kdsearch.errors import Refusal, cause_of, is_full
from kdsearch.search.state import Search

ASSISTANTS = 16
"""At most so many assistants are trained before the first trial."""


KEPT = ("key", "accuracy", "digest", "threads", "precision", "targets")
"""Of a network's facts, in search.json; beside them its multiply-accumulates for one image."""


def distinct_chains(pipelines: list[Pipeline]) -> list[Pipeline]:
    """The teacher's and at most ASSISTANTS other chains of networks that students learn from, shortest first."""
    chains: dict[Any, Pipeline] = {}
    for pipeline in pipelines:
        for number in range(1, len(pipeline.links)):
            chain = Pipeline(links=pipeline.links[:number], data=pipeline.data)
            chains.setdefault(chain.model_dump_json(), chain)
    ordered = sorted(chains.values(), key=lambda chain: len(chain.links))
    return ordered[: 1 + ASSISTANTS]


def known(search: Search, chains: list[Pipeline]) -> dict[str, dict]:
    """Facts of those networks that the store holds, by key; raises Refusal where one is damaged."""
    keys = [_key(search, chain) for chain in chains]
    return {key: read_facts(search.store.path(key)) for key in keys if key in search.store}


def _key(search: Search, chain: Pipeline) -> str:
    return key_of(chain, len(chain.links) - 1, search.images.fingerprint)


def train_networks(search: Search, chains: list[Pipeline], there: dict[str, dict], work: Any) -> None:
    """The teacher, then the assistants, once, as Ray tasks with a trial's resources; `there` is known already."""
    for length in sorted({len(chain.links) for chain in chains}):
        running = {}
        for chain in (chain for chain in chains if len(chain.links) == length):
            key = _key(search, chain)
            name = f"assistant-{key[:6]}" if length > 1 else "teacher"
            if name in search.networks:  # a space may draw its teacher
                name = f"teacher-{key[:6]}"
            link = chain.links[-1]
            macs = search.survey(link.net).macs
            search.networks[name] = {"epoch": 0, "epochs": link.fit.epochs, "accuracy": None, "macs": macs}
            if key in there:
                _trained(search, name, there[key])
            else:
                asked = {"pipeline": chain.model_dump(mode="json")} | search.places()
                running[_started(search, asked, length - 1, work)] = (name, asked, length - 1)
        _follow(search, running, work)


def _started(search: Search, asked: dict, number: int, work: Any) -> Any:
    # Ray's own retries would leave out as many rows as were heard, but a network that goes on tells others.
    task = ray.remote(num_cpus=search.resources["cpu"], num_gpus=search.resources["gpu"], max_retries=0)(work)
    return task.options(num_returns="streaming").remote(asked, number)


def _follow(search: Search, running: dict[Any, tuple[str, dict, int]], work: Any) -> None:
    search.show(search)
    lost: Counter[str] = Counter()
    while running:
        ready: Any = ray.wait(list(running), num_returns=1)[0][0]
        name, asked, number = running[ready]
        try:
            said: Any = ray.get(next(ready))
        except StopIteration:
            running.pop(ready)
            continue
        except RayTaskError as error:
            if is_full(error.cause):
                raise search.full_disk(str(error.cause)) from error
            raise Refusal(f"The {name} could not be trained: {cause_of(error.cause)}") from error
        except RayError as error:
            lost[name] += 1
            if lost[name] > RETRIES:
                raise Refusal(
                    f"The {name} could not be trained: {LOST}, {lost[name]} times; lower --max-concurrent or the "
                    f"network's width."
                ) from error
            running.pop(ready)
            running[_started(search, asked, number, work)] = (name, asked, number)  # from its checkpoint on
            continue
        if "paused" in said:
            continue
        if "facts" in said:
            _trained(search, name, said["facts"])
        else:
            row = said["row"]
            search.tables.extend(name, [row], student=-1)
            if row["stage"] != "record":
                search.networks[name] |= {"epoch": row["epoch"], "accuracy": row["accuracy"]}
        search.changed()
    if search.stopping.is_set():
        raise KeyboardInterrupt


def _trained(search: Search, name: str, facts: dict) -> None:
    network = search.networks[name]
    network |= {"epoch": network["epochs"], "accuracy": facts["accuracy"]}
    kept = {n: facts[n] for n in KEPT} | {"macs": network["macs"]}
    search.facts.setdefault("networks", {})[name] = kept
    if name == "teacher":
        search.facts |= {"teacher": facts["key"], "teacher_accuracy": facts["accuracy"]}
    search.write_facts()
