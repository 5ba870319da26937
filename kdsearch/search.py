"""A search from its beginning to its end: its folder, Ray, the networks that teach, the trials."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna
import ray
from filelock import Timeout

from kdsearch import cache, results
from kdsearch.address import probe, resolve, unreached
from kdsearch.cluster import gpus as declared_gpus
from kdsearch.cluster import on_head
from kdsearch.errors import Refusal
from kdsearch.interrupts import remembered_ctrl_c
from kdsearch.lease import Lease, hold
from kdsearch.networks import distinct_chains, known, train_networks
from kdsearch.plan import Search
from kdsearch.preflight import check, preflight, table
from kdsearch.resuming import check_more, taken
from kdsearch.scout import look
from kdsearch.searches import renew
from kdsearch.trial import is_full
from kdsearch.tuner import tune_trials

LOST_WORKER = "A worker died or was killed"


def run(search: Search) -> None:
    """Run a search to its end; its folder holds the results. Raises Refusal before anything is trained.

    Where it ends early, all that is known is in its folder, and `search.resumed` goes on from there.
    """
    drawn, references = look(search)
    search.storage.check()
    chains = distinct_chains([*references.values(), *(draw.pipeline for draw in drawn)])
    there = known(search, chains)
    address = start_ray(search.address)
    search.resources = asked_resources(search.cpus_per_trial, search.gpus_per_trial, address)
    if address:
        _check_nodes(search)
    search.folder.mkdir(parents=True, exist_ok=True)
    with (
        _alone(search) as search.lease,
        remembered_ctrl_c(search.interrupted, search.ask_to_stop, lambda: f"Go on: {search.resume_command}"),
    ):
        if not search.resumed and (search.folder / "search.json").exists():
            raise Refusal(f"'{search.folder}' has just been taken by another search; start this one again.")
        try:
            _begin(search)
            search.patient = True
            train_networks(search, chains, there)
            tune_trials(search, references)
        except OSError as error:
            raise search.full_disk(str(error)) if is_full(error) else error from error
        finally:
            search.patient = False
            if not search.lease.lost:
                _end(search)


@contextmanager
def _alone(search: Search) -> Iterator[Lease]:
    try:
        with results.driver_lock(search.folder), hold(search.storage, search.folder) as lease:
            yield lease
    except Timeout:
        raise taken(search.folder) from None


def _begin(search: Search) -> None:
    """Take over what there is, and leave nothing half done behind."""
    if search.resumed:
        renew(search.storage, search.folder)  # another driver may have gone on until it let go of the search
        search.tables.take_over()
        for name in ("", "students", "checkpoints"):
            for kind in ("parquet", "safetensors", "json"):
                for draft in (search.folder / name).glob(f".*.{kind}.*"):
                    draft.unlink(missing_ok=True)
        search.storage.remove(search.stop_file)
        check_more(search.tables, search.trials, search.seeds)
    search.write_facts()
    search.changed(at_once=True)


def _end(search: Search) -> None:
    """Write what is known, and leave no folder without anything to keep."""
    search.storage.remove(search.stop_file)
    with contextlib.suppress(OSError) if sys.exc_info()[0] else contextlib.nullcontext():
        search.tables.write(at_once=True)
    if not (search.tables.trials or search.resumed or search.kept):
        search.storage.remove(search.folder)  # nothing to keep, and the name stays free


def _check_nodes(search: Search) -> None:
    """Raises Refusal where a node of the cluster could not run trials; a table says what is wrong where."""
    several = len([node for node in ray.nodes() if node["Alive"]]) > 1 or on_head() is not None
    if several and not (search.storage.uri or search.storage_named):
        raise Refusal(
            f"On a cluster all nodes read and write the search's files, but '{search.storage.folder}' is a folder of "
            f"this machine; let --storage name a folder that they share, or a bucket such as s3://bucket/path."
        )
    nodes = preflight(search.storage, search.described, search.data_dir, search.images.fingerprint, search.progress)
    search.tell(table(nodes))
    check(nodes)


def asked_resources(cpus: float, gpus: float | None, address: str | None) -> dict[str, float]:
    """A trial's; raises Refusal where this machine could never give them, since Ray would wait for ever."""
    there = ray.cluster_resources()
    if gpus is None:
        grown = on_head() if address else None  # whose nodes may be yet to come
        gpus = 1 if there.get("GPU") or (grown and declared_gpus(grown)) else 0
    for kind, asked, option in (("CPU", cpus, "--cpus-per-trial"), ("GPU", gpus, "--gpus-per-trial")):
        if asked > there.get(kind, 0) and not address:
            raise Refusal(f"A trial asks for {asked:g} {kind}s, but there are {there.get(kind, 0):g}; lower {option}.")
    return {"cpu": cpus, "gpu": gpus}


def _hush_ray() -> None:
    """Ray prints a lost worker past all its settings, at length; the search says it in its own words."""
    from ray._private import worker

    plain = getattr(worker, "print_to_stdstream", None)

    def hushed(batch: dict, *told: Any, **more: Any) -> None:
        if plain and not any(LOST_WORKER in line for line in batch.get("lines", [])):
            plain(batch, *told, **more)

    if plain and plain.__name__ != "hushed":
        worker.print_to_stdstream = hushed


def start_ray(option: str | None = None) -> str | None:
    """Ray without its dashboard, tables and notes: this machine's own, or that at the address, which is returned.

    The address is what the option says, else RAY_ADDRESS, else, on the head of a cluster that `ray up` made, its own.
    """
    address = resolve(option) or ("auto" if on_head() is not None else None)
    probe(address)
    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AIR_NEW_OUTPUT": "0",  # its banner comes at any verbosity
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a hint stage has no accuracy to report
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # Ray's own snapshots: the search's tables are the record
    }
    if "KDSEARCH_CACHE" in os.environ:  # workers run in folders of their own
        os.environ["KDSEARCH_CACHE"] = str(cache.folder())
    logging.getLogger("ray").setLevel(logging.CRITICAL)  # what fails is told by the tables
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    _hush_ray()
    if ray.is_initialized():
        return address
    own: dict[str, Any] = {"address": "local", "include_dashboard": False, "object_store_memory": 200_000_000}
    if address:
        own = {"address": address}
    try:
        ray.init(logging_level=logging.CRITICAL, log_to_driver=False, configure_logging=True, **own)
    except ConnectionError as error:
        raise unreached(address or "local", error) from None
    return address
