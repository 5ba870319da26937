"""What Ray's schema cannot know of a cluster file: rules that cost a night when they are broken."""

import re
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any

from kdsearch.cluster.file import declared, local, most, provider, said, storage, types, workers

PLACEHOLDERS = ("MY-BUCKET", "OWNER/kdsearch", "123456789012")
"""What stands in the shipped cluster.yaml where a user's own must stand."""


RAY = re.compile(r"\bray(?:\[[\w, ]*\])?==(\d[\w.]*)|\bray-(\d[\w.]*)-cp|/ray(?:-ml)?:(\d+\.\d+\.\d+)")

PYTHON = re.compile(r"--python[= ](\d\.\d+)|\bpython=+(\d\.\d+)|\bpython(\d\.\d+)|-py(\d)(\d+)|-cp(\d)(\d+)-")

GPU_MACHINE = re.compile(r"(p\d|g\d|gr\d)")

IDLE = (3, 120)


def findings(config: dict[str, Any]) -> Iterator[str]:
    """A sentence for each rule that a file breaks: the rule, the value, the way out."""
    yield from _versions(config)
    yield from _installed(config)
    yield from _stored(config)
    yield from _machines(config)
    yield from _counts(config)
    yield from _head(config)
    yield from _idle(config)


def placeholders(config: dict[str, Any]) -> list[str]:
    """The shipped file's stand-ins that are still in it."""
    return [word for word in PLACEHOLDERS if word in repr(config)]


def summary(config: dict[str, Any]) -> str:
    """`9 nodes at most, 1 GPU each`: the head counts as a node, its GPUs do not."""
    there = workers(config)
    total = 1 + sum(most(kind) for kind in there.values())
    numbers = sorted({declared(kind, "GPU") for kind in there.values()})
    if local(config):
        return f"{total} nodes at most, GPUs as Ray finds them there"
    each = " or ".join(str(number) for number in numbers) or "0"
    return f"{total} nodes at most, {each} GPU{'' if each == '1' else 's'} each worker"


def _installs(config: dict[str, Any]) -> str:
    keys = ("initialization_commands", "head_setup_commands", "worker_setup_commands", "docker")
    return said(config, *keys)


def _versions(config: dict[str, Any]) -> Iterator[str]:
    text = _installs(config)
    here = {"Ray": metadata.version("ray"), "Python": "{}.{}".format(*sys.version_info)}
    for what, pattern in (("Ray", RAY), ("Python", PYTHON)):
        found = {".".join(part for part in match if part) for match in pattern.findall(text)}
        for other in sorted(found - {here[what]}):
            yield (
                f"{what} must be the same on every node and here, but the file installs {other} and here is "
                f"{here[what]}: write {here[what]} there, or use {other} here."
            )
        if what == "Ray" and not found and not local(config):
            yield (
                "Ray's version must be pinned, or nodes that start on other days differ, but no setup command or image "
                f"does: write 'ray[default]=={here[what]}'."
            )


def _installed(config: dict[str, Any]) -> Iterator[str]:
    for key, who in (("head_setup_commands", "head"), ("worker_setup_commands", "workers")):
        if "kdsearch" not in re.sub(r"KDSEARCH_STORAGE=\S*", "", said(config, key, "docker")):
            yield (
                f"kdsearch must be on every node, but no setup command of the {who} names it: add `pip install "
                "kdsearch` to setup_commands, or `kdsearch --version` where it is installed already."
            )


def _stored(config: dict[str, Any]) -> Iterator[str]:
    found = storage(config)
    if found is None:
        yield (
            "All nodes must share one storage, but no command sets it: add `echo 'export KDSEARCH_STORAGE=s3://…' >> "
            "~/.bashrc` (or gs://…, or a folder on NFS) to setup_commands."
        )
    elif not re.match(r"(s3|gs)://[^/]|/[^/]", found):
        yield (
            "Storage that all nodes share is s3://…, gs://… or a folder on NFS by its full path, but "
            f"KDSEARCH_STORAGE is '{found}'."
        )


def _machines(config: dict[str, Any]) -> Iterator[str]:
    if provider(config) != "aws":
        return
    for name, kind in types(config).items():
        asked = kind.get("node_config")
        asked = asked if isinstance(asked, dict) else {}
        machine, count = asked.get("InstanceType"), declared(kind, "GPU")
        if not isinstance(machine, str):
            yield f"'{name}' must name its machine, or Ray takes a small one: add InstanceType to its node_config."
        elif GPU_MACHINE.match(machine) and not count:
            yield f"'{name}' is a {machine}, which has GPUs, but declares none: add GPU: 1 (or more) to its resources."
        elif count and not GPU_MACHINE.match(machine):
            yield f"'{name}' declares {count} GPUs, but a {machine} has none: choose a GPU machine, e.g. g5.xlarge."
        if "ImageId" not in asked:
            yield (
                f"'{name}' must name its ImageId: Ray's own choice is Ubuntu 18.04, too old for torch; see kdsearch's "
                "cluster.yaml."
            )


def _counts(config: dict[str, Any]) -> Iterator[str]:
    there = workers(config)
    for name, kind in there.items():
        least = kind.get("min_workers")
        if isinstance(least, int) and least > most(kind):
            yield (
                f"min_workers must not exceed max_workers, but '{name}' has {least} and {most(kind)}: lower one, or "
                "raise the other."
            )
        if not local(config) and not declared(kind, "CPU"):
            yield (
                f"'{name}' must declare its cores, or no trial is sent there: add CPU: … to its resources, one for "
                "each trial that is to run at once."
            )
    if not there and _head_is_idle(config):
        yield "Someone must run the trials, but the head has CPU 0 and there are no workers: raise max_workers."


def _head_is_idle(config: dict[str, Any]) -> bool:
    if re.search(r"--num-cpus[= ]0\b", said(config, "head_start_ray_commands")):
        return True
    resources = types(config).get(str(config.get("head_node_type")), {}).get("resources")
    return not local(config) and isinstance(resources, dict) and resources.get("CPU") == 0


def _head(config: dict[str, Any]) -> Iterator[str]:
    if workers(config) and not _head_is_idle(config):
        how = "--num-cpus=0 to its `ray start --head`" if local(config) else "resources: {CPU: 0} to its node type"
        yield f"The head must run no trials, which could take down the search with them: add {how}."
    start = said(config, "head_start_ray_commands")
    if "--autoscaling-config" not in start:
        yield "The head must know this file to start workers: add --autoscaling-config=~/ray_bootstrap_config.yaml."
    if re.search(r"--dashboard-host[= ]0\.0\.0\.0", start):
        yield (
            "Whoever reaches the dashboard runs what they like on the cluster, and --dashboard-host=0.0.0.0 lets "
            "anyone: leave it out, kdsearch comes by ssh."
        )


def _idle(config: dict[str, Any]) -> Iterator[str]:
    minutes = config.get("idle_timeout_minutes")
    low, high = IDLE
    if not local(config) and not (isinstance(minutes, (int, float)) and low <= minutes <= high):
        yield (
            f"idle_timeout_minutes should be {low} to {high}, so that a node is not lost while it loads data nor paid "
            f"for all night, but is {minutes}."
        )
