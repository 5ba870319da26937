"""A search from its beginning to its end: its folder, Ray, the networks that teach, the trials."""

import logging
import os

import optuna
import ray
from filelock import Timeout

from kdsearch import results
from kdsearch.errors import Refusal
from kdsearch.networks import distinct_chains, train_networks
from kdsearch.plan import Search, look
from kdsearch.tuner import tune_trials


def run(search: Search) -> None:
    """Run a search to its end; its folder holds the results. Raises Refusal before anything is trained."""
    drawn, references = look(search)
    search.folder.mkdir(parents=True, exist_ok=True)
    lock = results.driver_lock(search.folder)
    try:
        lock.acquire()
    except Timeout:
        raise Refusal(f"Another process runs the search '{search.folder}'; give this one another --name.") from None
    try:
        search.write_facts()
        search.changed(at_once=True)
        start_ray()
        chains = distinct_chains([*references.values(), *(draw.pipeline for draw in drawn)])
        gpus = search.gpus_per_trial
        if gpus is None:
            gpus = 1 if ray.cluster_resources().get("GPU") else 0
        resources = {"cpu": search.cpus_per_trial, "gpu": gpus}
        train_networks(search, chains, resources)
        tune_trials(search, drawn, references, resources)
    finally:
        search.tables.write(at_once=True)
        lock.release()


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
