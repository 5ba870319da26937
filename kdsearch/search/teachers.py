"""The networks that students learn from: trained first, once, as Ray tasks, through the store."""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any

from kdsearch.cluster.tasks import LOST, Tasks
from kdsearch.config.net import Own
from kdsearch.config.pipeline import Link, Pipeline
from kdsearch.distill.store import Store, check_net, key_of, read_facts
from kdsearch.errors import Refusal
from kdsearch.nets.survey import extra
from kdsearch.results.folder import keep_trace
from kdsearch.results.metric import column
from kdsearch.search import worth
from kdsearch.search.driver import Driver
from kdsearch.search.plan import Plan
from kdsearch.search.work import Work

Task = Callable[[dict[str, Any]], Iterator[dict[str, Any]]]
"""A worker's, of its orders as plain data."""

ASSISTANTS = 16
"""At most so many assistants are trained before the first trial."""
KEPT = ("key", "accuracy", "digest", "threads", "precision", "targets")
"""Of a network's facts, in search.json; beside them its multiply-accumulates for one image."""


def distinct_chains(pipelines: list[Pipeline]) -> list[Pipeline]:
    """The teacher's and at most ASSISTANTS other chains of networks that students learn from, shortest first."""
    chains: dict[Any, Pipeline] = {}
    for pipeline in pipelines:
        for number in range(1, len(pipeline.links)):
            before = Pipeline(links=pipeline.links[:number], data=pipeline.data)
            chains.setdefault(before.model_dump_json(), before)
    ordered = sorted(chains.values(), key=lambda before: len(before.links))
    return ordered[: 1 + ASSISTANTS]


def chains_of(plan: Plan) -> dict[str, Pipeline]:
    """Those of a search, by their key in the store; raises Refusal where one that the store holds is damaged."""
    pipelines = [*plan.references.values(), *(draw.pipeline for draw in plan.draws)]
    found = {
        key_of(before, len(before.links) - 1, plan.images.fingerprint): before for before in distinct_chains(pipelines)
    }
    for key in found:
        if key in plan.store:
            check_net(plan.store.path(key))
    return found


def lacking(store: Store, chains: Mapping[str, Work], tasks: Tasks, task: Task) -> Iterator[tuple[str, dict[str, Any]]]:
    """Train what the store lacks of these networks, by key, teachers first; yields what their tasks say. `task`: what
    Ray runs of each.

    What a network that failed would have taught is not begun, and has failed, too.
    """
    failed: dict[tuple[Link, ...], str] = {}
    for link in sorted({work.link or 0 for work in chains.values()}):
        level = {key: work for key, work in chains.items() if work.link == link and key not in store}
        links = {key: work.pipeline.links[: link + 1] for key, work in level.items()}
        lost = {
            key: f"its teacher failed: {cause}"
            for key, work in level.items()
            if (cause := _lost(work.pipeline, link, failed))
        }
        said = ((key, {"cause": cause, "trace": ""}) for key, cause in lost.items())
        plain = {key: work.model_dump(mode="json") for key, work in level.items() if key not in lost}
        for key, heard in chain(said, tasks.follow(task, plain)):
            if "cause" in heard:
                failed[links[key]] = heard["cause"]
            yield key, heard


def _lost(pipeline: Pipeline, number: int, failed: Mapping[tuple[Link, ...], str]) -> str | None:
    """Why a network has no teacher to learn from."""
    return next(
        (failed[before] for own in pipeline.before(number) if (before := pipeline.links[: own + 1]) in failed), None
    )


def train_networks(driver: Driver, chains: Mapping[str, Pipeline], task: Task) -> None:
    """The teacher, then the assistants. Raises Refusal for one that cannot be trained."""
    plan, names = driver.plan, {}
    for key, own in chains.items():
        names[key] = name = _name(driver, key, own)
        more = extra(own.student, plan.images.shape, len(plan.images.classes))[1]
        macs = plan.survey(own.student.net).macs + more
        driver.networks[name] = {"epoch": 0, "epochs": own.student.fit.epochs, "accuracy": None, "macs": macs}
        if key in plan.store:
            _trained(driver, name, own, read_facts(plan.store.path(key)))
    driver.show(driver)
    work = {key: driver.orders.work(own, link=len(own.links) - 1) for key, own in chains.items()}
    for key, said in lacking(plan.store, work, Tasks(plan.resources, None, driver.interrupted), task):
        if plan.space.repeats and "cause" in said:  # rows that it does not teach go on
            driver.impossible[chains[key].links] = said["cause"]
            if said["trace"]:
                plan.storage.push(keep_trace(plan.folder, names[key], said["trace"]))
            continue
        _hear(driver, names[key], chains[key], said)
    if driver.stopping.is_set():
        raise KeyboardInterrupt


def _name(driver: Driver, key: str, own: Pipeline) -> str:
    if own.teachers(len(own.links) - 1):
        return f"assistant-{key[:6]}"
    return f"teacher-{key[:6]}" if "teacher" in driver.networks else "teacher"  # a space may draw its teacher


def _hear(driver: Driver, name: str, own: Pipeline, said: Mapping[str, Any]) -> None:
    if "full" in said:
        raise driver.full_disk(said["full"])
    if cause := said.get("cause"):
        more = "; lower --max-concurrent or the network's width." if cause.startswith(LOST) else ""
        raise Refusal(f"The {name} could not be trained: {cause}{more}")
    if "facts" in said:
        _trained(driver, name, own, said["facts"])
    elif "warning" in said:
        driver.warn(said["warning"])
    elif row := said.get("row"):
        driver.tables.extend(name, [row], student=-1)
        if row["stage"] != "record":
            driver.networks[name] |= {"epoch": row["epoch"], "accuracy": row["accuracy"]}
    driver.changed()


def _trained(driver: Driver, name: str, own: Pipeline, facts: Mapping[str, Any]) -> None:
    plan, network = driver.plan, driver.networks[name]
    if isinstance(own.student.net, Own) and own.student.fit.epochs:
        found = worth.trained(own.student, facts["accuracy"], plan.images)
        driver.tell(f"Teacher: {found.facts[0]}")
        worth.judge(found, plan.asked.teacher_anyway, driver.warn)
    network |= {"epoch": network["epochs"], "accuracy": facts["accuracy"]}
    kept = {n: facts[n] for n in KEPT} | {"macs": network["macs"]}
    driver.facts.setdefault("networks", {})[name] = kept
    if name == "teacher":
        reached = facts.get(column(plan.asked.metric), facts["accuracy"])
        driver.facts |= {"teacher": facts["key"], "teacher_accuracy": reached}
    driver.write_facts()
