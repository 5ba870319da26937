"""A search from its beginning to its end: its folder, Ray, the networks that teach, the trials."""

import logging
import os

import optuna
import ray
from filelock import Timeout

from kdsearch import results
from kdsearch.errors import Refusal
from kdsearch.networks import distinct_chains, known, train_networks
from kdsearch.plan import Search, look
from kdsearch.tuner import tune_trials


def run(search: Search) -> None:
    """Run a search to its end; its folder holds the results. Raises Refusal before anything is trained."""
    drawn, references = look(search)
    chains = distinct_chains([*references.values(), *(draw.pipeline for draw in drawn)])
    known(search, chains)
    start_ray()
    search.resources = asked_resources(search)
    try:
        search.folder.mkdir(parents=True, exist_ok=True)
        lock = results.driver_lock(search.folder)
        lock.acquire()
    except Timeout:
        raise Refusal(f"Another process runs the search '{search.folder}'; give this one another --name.") from None
    try:
        search.write_facts()
        search.changed(at_once=True)
        train_networks(search, chains)
        tune_trials(search, drawn, references)
    finally:
        search.tables.write(at_once=True)
        lock.release()


def asked_resources(search: Search) -> dict[str, float]:
    """A trial's; raises Refusal where this machine could never give them, since Ray would wait for ever."""
    there = ray.cluster_resources()
    gpus = search.gpus_per_trial
    if gpus is None:
        gpus = 1 if there.get("GPU") else 0
    for kind, asked, option in (("CPU", search.cpus_per_trial, "--cpus-per-trial"), ("GPU", gpus, "--gpus-per-trial")):
        if asked > there.get(kind, 0) and not os.environ.get("RAY_ADDRESS"):
            raise Refusal(f"A trial asks for {asked:g} {kind}s, but there are {there.get(kind, 0):g}; lower {option}.")
    return {"cpu": search.cpus_per_trial, "gpu": gpus}


def start_ray() -> None:
    """Ray without its dashboard, tables and notes; joins the cluster that RAY_ADDRESS names."""
    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AIR_NEW_OUTPUT": "0",  # its banner comes at any verbosity
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a hint stage has no accuracy to report
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # Ray's own snapshots: the search's tables are the record
    }
    logging.getLogger("ray").setLevel(logging.ERROR)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if ray.is_initialized():
        return
    own = {} if os.environ.get("RAY_ADDRESS") else {"include_dashboard": False, "object_store_memory": 200_000_000}
    ray.init(logging_level=logging.ERROR, log_to_driver=False, configure_logging=True, **own)
