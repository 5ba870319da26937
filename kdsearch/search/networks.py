"""Users' own networks in the pipelines of a search: found out about, known by their files, which travel to workers."""

import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from kdsearch.config.net import Own
from kdsearch.config.pipeline import Pipeline
from kdsearch.errors import Refusal
from kdsearch.nets import factory, settle
from kdsearch.nets.settle import settled
from kdsearch.search.settings import Settings
from kdsearch.storage import code
from kdsearch.storage.bucket import Storage
from kdsearch.storage.files import whole


def family(settings: Settings) -> Callable[[Any], Own]:
    """What draws a student of the given family by Optuna's trial."""
    name = settings.student or ""

    def student(trial: Any) -> Own:
        if (
            settings.shape is None or settings.classes is None
        ):  # the images are not known yet, and nobody looks at this draw's network
            return Own(kind="own", factory=name)
        arguments = factory.drawn(name, len(settings.classes), trial)
        trial.taken |= set(arguments)  # from here on the space may not draw them
        return settle.certain(
            Own(kind="own", factory=name, arguments=tuple(arguments.items())), settings.shape, settings.classes
        )

    return student


def certain(pipeline: Pipeline, settings: Settings) -> Pipeline:
    """With its own networks found out about, once the images are known. Raises Refusal."""
    if settings.shape is None or settings.classes is None:
        return pipeline
    found = settled(pipeline, settings.shape, settings.classes)
    first, *rest = found.links
    if not isinstance(first.net, Own):
        return found
    fit = first.fit
    if first.net.new_head and not fit.epochs:
        fit = fit.model_copy(update={"epochs": settings.teacher_epochs})
    if settings.teacher_train and not fit.epochs:
        raise Refusal(
            f"--teacher-train says what of a teacher trains, but '{first.net.called}' is taken as it is; "
            f"--teacher-epochs says for how long it trains."
        )
    trains = settings.teacher_train or ("head" if first.net.new_head else fit.trains)
    if trains == "head" and not first.net.head:
        raise Refusal(
            f"The head is the submodule that gives the classes, but no part of '{first.net.called}' does so by itself; "
            f"--teacher-train all trains the whole."
        )
    first = first.model_copy(update={"fit": fit.model_copy(update={"trains": trains})})
    return found.model_copy(update={"links": (first, *rest)})


def own_networks(pipelines: Iterable[Pipeline]) -> list[Own]:
    """Those of users' own, each once by its files."""
    nets = [link.net for pipeline in pipelines for link in pipeline.links if isinstance(link.net, Own)]
    return list({(net.factory, net.source, net.weights_hash): net for net in nets}.values())


def sources(pipelines: Iterable[Pipeline]) -> dict[str, str]:
    """Hashes of the files that make users' own networks, by their names: a search goes on with the same."""
    found: dict[str, str] = {}
    for net in own_networks(pipelines):
        found[net.called] = net.source
        if net.weights:
            found[Path(net.weights).name] = net.weights_hash
    return found


def check_sources(before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raises Refusal where a file is another than when the search began."""
    for name, source in now.items():
        if before.get(name, source) != source:
            raise Refusal(
                f"A search goes on with the networks that it began with, but '{name}', or a file beside it, has "
                f"changed since; bring it back, or start a new search with another --name."
            )


def shelf(storage: Storage) -> Path:
    """Where the files of users' own networks lie for all machines of a search."""
    return storage.folder / "store" / "code"


def send(pipelines: Iterable[Pipeline], storage: Storage) -> None:
    """The files that make users' own networks, where every machine finds them: the factory's with what it imports
    beside it, and the weights."""
    for net in own_networks(pipelines):
        path, weights = Path(net.factory.rpartition(":")[0]), Path(net.weights or "")
        if path.suffix == ".py" and not _packed(storage, net).exists():
            with whole(_packed(storage, net)) as draft:
                draft.write_bytes(code.packed(path))
        if net.weights and not _weights(storage, net).exists():
            with whole(_weights(storage, net)) as draft:
                shutil.copyfile(weights, draft)
        for file in (_packed(storage, net), _weights(storage, net)):
            if file.is_file():
                storage.push(file)


def _packed(storage: Storage, net: Own) -> Path:
    return shelf(storage) / f"{net.source}.zip"


def _weights(storage: Storage, net: Own) -> Path:
    return shelf(storage) / net.weights_hash / Path(net.weights or "").name


def bring(pipeline: Pipeline, storage: Storage) -> None:
    """Make a worker find the files of a pipeline's networks."""
    for net in own_networks([pipeline]):
        if net.weights and not _weights(storage, net).exists():
            storage.pull(_weights(storage, net))
        if not (_packed(storage, net).exists() or storage.pull(_packed(storage, net))):
            continue
        code.look_in(_packed(storage, net).parent)
        code.unpack(_packed(storage, net))
