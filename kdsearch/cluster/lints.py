"""What Ray's schema cannot know of a cluster file: rules that cost a night when they are broken."""

import re
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any

from kdsearch.cluster.file import declared, local, most, said, storage, types, workers

PLACEHOLDERS = ("MY-BUCKET", "OWNER/kdsearch", "123456789012")
"""What stands in the shipped cluster.yaml where a user's own must stand."""

RAY = re.compile(r"\bray(?:\[[\w, ]*\])?==(\d[\w.]*)|\bray-(\d[\w.]*)-cp|/ray(?:-ml)?:(\d+\.\d+\.\d+)")

PYTHON = re.compile(r"--python[= ](\d\.\d+)|\bpython=+(\d\.\d+)|\bpython(\d\.\d+)|-py(\d)(\d+)|-cp(\d)(\d+)-")


def findings(config: dict[str, Any]) -> Iterator[str]:
    """A sentence for each rule that a file breaks: the rule, the value, the way out."""
    yield from _versions(config)
    yield from _stored(config)
    yield from _head(config)


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


def _versions(config: dict[str, Any]) -> Iterator[str]:
    text = said(config, "initialization_commands", "head_setup_commands", "worker_setup_commands", "docker")
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


def _head(config: dict[str, Any]) -> Iterator[str]:
    if workers(config) and not _runs_no_trials(config):
        how = "--num-cpus=0 to its `ray start --head`" if local(config) else "resources: {CPU: 0} to its node type"
        yield f"The head must run no trials, which could take down the search with them: add {how}."


def _runs_no_trials(config: dict[str, Any]) -> bool:
    if re.search(r"--num-cpus[= ]0\b", said(config, "head_start_ray_commands")):
        return True
    resources = types(config).get(str(config.get("head_node_type")), {}).get("resources")
    return not local(config) and isinstance(resources, dict) and resources.get("CPU") == 0
