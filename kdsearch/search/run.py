"""A search from its beginning to its end: its folder, Ray, the networks that teach, the trials."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from filelock import Timeout

from kdsearch.cluster.file import on_head
from kdsearch.cluster.nodes import check, table
from kdsearch.cluster.own import watched
from kdsearch.cluster.preflight import preflight
from kdsearch.cluster.session import asked_resources, has_several_nodes, start_ray
from kdsearch.data.images import silent
from kdsearch.errors import Refusal, is_full, nobody
from kdsearch.interrupts import remembered_ctrl_c
from kdsearch.results import folder
from kdsearch.results.facts import Facts
from kdsearch.results.folder import taken
from kdsearch.results.searches import renew
from kdsearch.search import networks
from kdsearch.search.driver import Driver, Show
from kdsearch.search.plan import Plan, Progress
from kdsearch.search.resume import check_machine, check_more
from kdsearch.search.teachers import chains_of, train_networks
from kdsearch.search.trial import task, trial
from kdsearch.search.tuner import tune_trials
from kdsearch.storage.lease import Lease, hold


def run(plan: Plan, show: Show = nobody, tell: Callable[[Any], None] = nobody, progress: Progress = silent) -> Driver:
    """Run a search to its end; its folder holds the results. Raises Refusal before anything is trained.

    Where it ends early, all that is known is in its folder, from which a plan that was looked up again goes on.
    `show` is called whenever something changed, `tell` with a table that a user should see.
    """
    plan.storage.check()
    chains = chains_of(plan)
    address = start_ray(plan.asked.address)
    resources = asked_resources(plan.asked.cpus_per_trial, plan.asked.gpus_per_trial, address)
    driver = Driver(replace(plan, resources=resources, address=address), tell, show, progress)
    if address:
        _check_nodes(driver)
    plan.folder.mkdir(parents=True, exist_ok=True)
    networks.send(plan.pipelines, plan.storage)
    with (
        _alone(plan) as driver.lease,
        remembered_ctrl_c(driver.interrupted, driver.ask_to_stop, lambda: f"Go on: {plan.place.resume}"),
        watched(driver.lost_ray),
    ):
        if not plan.place.before and (plan.folder / "search.json").exists():
            raise Refusal(f"'{plan.folder}' has just been taken by another search; start this one again.")
        if plan.place.before:
            for sentence in check_machine(plan.place.before, Facts.model_validate(driver.plan.facts())):
                driver.warn(sentence)
        try:
            _begin(driver)
            driver.patient = True
            train_networks(driver, chains, task)
            tune_trials(driver, trial)
        except KeyboardInterrupt:
            raise driver.failure or KeyboardInterrupt from None
        except OSError as error:
            raise driver.full_disk(str(error)) if is_full(error) else error from error
        finally:
            driver.patient = False
            if not driver.lease.lost:
                _end(driver)
    return driver


@contextmanager
def _alone(plan: Plan) -> Iterator[Lease]:
    try:
        with folder.driver_lock(plan.folder), hold(plan.storage, plan.folder) as lease:
            yield lease
    except Timeout:
        raise taken(plan.folder) from None


def _begin(driver: Driver) -> None:
    """Take over what there is, and leave nothing half done behind."""
    plan = driver.plan
    if plan.place.before:
        renew(plan.storage, plan.folder)  # another driver may have gone on until it let go of the search
        driver.tables.take_over()
        driver.tables.place_data(plan.data.name)
        for name in ("", "students", "checkpoints"):
            for kind in ("parquet", "safetensors", "json"):
                for draft in (plan.folder / name).glob(f".*.{kind}.*"):
                    draft.unlink(missing_ok=True)
        plan.storage.remove(driver.orders.stop_file)
        check_more(driver.tables, plan.trials, plan.asked.seeds)
        if plan.space.repeats:  # a row that failed is tried again
            for name, row in driver.tables.trials.items():
                if row["state"] == "failed":
                    driver.tables.mark(name, "waiting")
    driver.begun = True
    driver.write_facts()
    driver.changed(at_once=True)


def _end(driver: Driver) -> None:
    """Write what is known, and leave no folder without anything to keep."""
    plan = driver.plan
    plan.storage.remove(driver.orders.stop_file)
    if not driver.begun:  # what lies there was not taken over, and stays as it is
        return
    with contextlib.suppress(OSError) if sys.exc_info()[0] else contextlib.nullcontext():
        driver.tables.write(at_once=True)
    if not (driver.tables.trials or plan.place.before or driver.kept):
        plan.storage.remove(plan.folder)  # nothing to keep, and the name stays free


def _check_nodes(driver: Driver) -> None:
    """Raises Refusal where a node of the cluster could not run trials; a table says what is wrong where."""
    plan = driver.plan
    several = has_several_nodes() or on_head() is not None
    if several and not (plan.storage.uri or plan.asked.storage_named):
        raise Refusal(
            f"On a cluster all nodes read and write the search's files, but '{plan.storage.folder}' is a folder of "
            f"this machine; let --storage name a folder that they share, or a bucket such as s3://bucket/path."
        )
    data_dir = driver.orders.data_dir
    nodes = preflight(plan.storage, plan.data, data_dir, plan.images.fingerprint, driver.progress)
    driver.tell(table(nodes))
    check(nodes)
