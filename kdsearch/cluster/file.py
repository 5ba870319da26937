"""A cluster as its `ray up` file describes it: read, checked by Ray's own schema without a network, and asked."""

import contextlib
import io
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from kdsearch.config.parse import load_yaml
from kdsearch.errors import Refusal, first_line

WRITTEN_BY_RAY_UP = "~/ray_bootstrap_config.yaml"
"""On a cluster's head, and only there."""

SHIPPED = Path(__file__).with_name("cluster.yaml")
"""The file that comes with kdsearch."""

FILLS_RESOURCES = ("aws", "gcp")
"""Providers that ask the cloud what a kind of machine has."""

WANTED = "a cluster file is one table, as `ray up` takes it (kdsearch cluster init writes one)"

DASHBOARD = 8265
"""Ray's own port for jobs, unless the file says otherwise."""


def on_head() -> dict[str, Any] | None:
    """The cluster whose head this machine is; None where `ray up` left no file. Raises Refusal for a damaged one."""
    path = Path(WRITTEN_BY_RAY_UP).expanduser()
    try:
        return _table(path) if path.exists() else None
    except Refusal as error:
        raise Refusal(
            f"{str(error).rstrip('.')}; `ray up` wrote it on a cluster's head: run that again, or remove it where this "
            f"machine is none."
        ) from None


def gpus(config: dict[str, Any]) -> int:
    """GPUs that a worker declares: the most of any type, 0 where none does."""
    return max((declared(kind, "GPU") for kind in workers(config).values()), default=0)


def read(path: Path) -> dict[str, Any]:
    """A cluster file with Ray's defaults filled in; raises Refusal where it cannot be read or Ray would not take it."""
    config = _table(path)
    if {"apiVersion", "kind"} <= set(config):
        raise Refusal(f"'{path}' is a Kubernetes manifest ({config['kind']}), but {WANTED}.")
    provider = config.get("provider")
    if not isinstance(provider, dict) or not isinstance(provider.get("type"), str):
        raise Refusal(f"The cluster file '{path}' must say where its machines are: provider: {{type: aws}}, or local.")
    return _as_ray_reads(config, path)


def _table(path: Path) -> dict[str, Any]:
    try:
        config = load_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Refusal(f"The cluster file '{path}' cannot be read: {first_line(error)}.") from None
    except Exception as error:  # PyYAML lets errors of Python's own constructors through: dates, numbers, depth
        if "expected a single document" in str(error):
            raise Refusal(f"'{path}' holds several documents, as Kubernetes manifests do, but {WANTED}.") from None
        raise Refusal(f"The cluster file '{path}' is not YAML: {_short(error)}") from None
    if not isinstance(config, dict):
        raise Refusal(f"The cluster file '{path}' must be a table of settings, but is {type(config).__name__}.")
    return config


def _as_ray_reads(config: dict[str, Any], path: Path) -> dict[str, Any]:
    try:
        from ray.autoscaler._private.util import prepare_config, validate_config  # private: there is no public one
    except ImportError as error:
        raise Refusal(f"This Ray cannot check cluster files ({error}): pip install 'kdsearch[cluster]'.") from None
    with _quiet():
        try:
            filled = prepare_config(_with_resources(config))
            validate_config(filled)
        except (Exception, SystemExit) as error:  # it raises whatever a wrong type led to
            raise Refusal(f"Ray does not take '{path}': {_where(error)}{_short(error)}") from None
    return filled


def _with_resources(config: dict[str, Any]) -> dict[str, Any]:
    """As Ray has it before it validates: its provider finds out what a kind of machine has, if nobody says."""
    kinds = config.get("available_node_types")
    if config["provider"]["type"] not in FILLS_RESOURCES or not isinstance(kinds, dict):
        return config
    filled = {name: {"resources": {}} | kind if isinstance(kind, dict) else kind for name, kind in kinds.items()}
    return config | {"available_node_types": filled}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Ray's launcher prints and logs as it reads: what matters comes as its exception."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def _where(error: BaseException) -> str:
    path = getattr(error, "absolute_path", None)
    return "at " + ".".join(str(part) for part in path) + ": " if path else ""


def _short(error: BaseException) -> str:
    """An error in a line: its message, with its kind where the message alone says nothing."""
    said = " ".join(str(getattr(error, "message", "") or error).split())
    known = isinstance(error, (ValueError, yaml.YAMLError)) or hasattr(error, "message")
    return (said if known and said else f"{type(error).__name__} {said}".strip())[:300] + "."


def types(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The kinds of machine that a file declares."""
    found = config.get("available_node_types")
    pairs = found.items() if isinstance(found, dict) else ()
    return {str(name): kind for name, kind in pairs if isinstance(kind, dict)}


def local(config: dict[str, Any]) -> bool:
    """Whether its machines are there already, reached by ssh: they say themselves what they have."""
    found = config.get("provider")
    return isinstance(found, dict) and found.get("type") == "local"


def workers(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The kinds of machine that may run trials; with `provider: local` head and workers are of one kind."""
    head = config.get("head_node_type")
    return {name: kind for name, kind in types(config).items() if most(kind) and (local(config) or name != head)}


def most(kind: dict[str, Any]) -> int:
    """How many machines of a kind there may be."""
    return _whole(kind.get("max_workers"))


def declared(kind: dict[str, Any], resource: str) -> int:
    """How much of a resource a kind of machine says it has."""
    resources = kind.get("resources")
    return _whole(resources.get(resource)) if isinstance(resources, dict) else 0


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0


def said(config: dict[str, Any], *keys: str) -> str:
    """The text of all commands and docker options under these keys, a line each."""
    docker = config.get("docker")
    places = {**config, "docker": list(docker.values()) if isinstance(docker, dict) else []}
    return "\n".join(line for key in keys for line in _lines(places.get(key)))


def _lines(value: Any) -> list[str]:
    return [line for one in value for line in _lines(one)] if isinstance(value, list) else [str(value or "")]


def storage(config: dict[str, Any]) -> str | None:
    """Where the cluster's searches lie: what its commands set KDSEARCH_STORAGE to, if they do."""
    text = said(config, "head_setup_commands", "head_start_ray_commands", "docker")
    found = re.findall(r"""\bKDSEARCH_STORAGE=["']?([^\s"';&]+)""", text)
    return found[-1] if found else None


def dashboard(config: dict[str, Any]) -> int:
    """The port on the head at which Ray takes jobs."""
    found = re.findall(r"--dashboard-port[= ](\d{1,5})\b", said(config, "head_start_ray_commands"))
    return int(found[-1]) if found else DASHBOARD
