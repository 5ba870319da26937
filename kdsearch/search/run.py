"""A search from its beginning to its end: its folder, Ray, the networks that teach, the trials."""

import contextlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from filelock import Timeout

from kdsearch.cluster.file import on_head
from kdsearch.cluster.nodes import check, table
from kdsearch.cluster.preflight import preflight
from kdsearch.cluster.session import asked_resources, start_ray
from kdsearch.errors import Refusal, is_full
from kdsearch.interrupts import remembered_ctrl_c
from kdsearch.results import folder
from kdsearch.results.folder import taken
from kdsearch.results.searches import renew
from kdsearch.search.plan import look
from kdsearch.search.resume import check_more
from kdsearch.search.state import Search
from kdsearch.search.teachers import distinct_chains, known, train_networks
from kdsearch.search.trial import prepare, trial
from kdsearch.search.tuner import tune_trials
from kdsearch.storage.lease import Lease, hold


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
            train_networks(search, chains, there, prepare)
            tune_trials(search, references, trial)
        except OSError as error:
            raise search.full_disk(str(error)) if is_full(error) else error from error
        finally:
            search.patient = False
            if not search.lease.lost:
                _end(search)


@contextmanager
def _alone(search: Search) -> Iterator[Lease]:
    try:
        with folder.driver_lock(search.folder), hold(search.storage, search.folder) as lease:
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
