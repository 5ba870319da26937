"""Users' own networks and terms in the pipelines of a search: found out about, known by their files, which travel to
workers."""

import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from kdsearch.config.methods import OwnTerm
from kdsearch.config.net import Own
from kdsearch.config.pipeline import Link, Pipeline
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
    """With its own terms found out about, and its own networks once the images are known. Raises Refusal."""
    if settings.shape is None or settings.classes is None:
        return settle.own_terms(pipeline)
    found = settled(pipeline, settings.shape, settings.classes)
    alone = {0, *(number for number, link in enumerate(found.links) if link.taught_by == ())}
    links = (_given(link, settings) if number in alone else link for number, link in enumerate(found.links))
    return found.model_copy(update={"links": tuple(links)})


def _given(link: Link, settings: Settings) -> Link:
    """A link that nobody teaches: for how long, and what of it, trains where it is a network of a user's own."""
    fit = link.fit
    if not isinstance(link.net, Own):
        return link
    if link.net.new_head and not fit.epochs:
        fit = fit.model_copy(update={"epochs": settings.teacher_epochs})
    if settings.teacher_train and not fit.epochs:
        raise Refusal(
            f"--teacher-train says what of a teacher trains, but '{link.net.called}' is taken as it is; "
            f"--teacher-epochs says for how long it trains."
        )
    trains = settings.teacher_train or ("head" if link.net.new_head else fit.trains)
    if trains == "head" and not link.net.head:
        raise Refusal(
            f"The head is the submodule that gives the classes, but no part of '{link.net.called}' does so by itself; "
            f"--teacher-train all trains the whole."
        )
    return link.model_copy(update={"fit": fit.model_copy(update={"trains": trains})})


def own_networks(pipelines: Iterable[Pipeline]) -> list[Own]:
    """Those of users' own, each once by its files."""
    nets = [link.net for pipeline in pipelines for link in pipeline.links if isinstance(link.net, Own)]
    return list({(net.factory, net.source, net.weights_hash): net for net in nets}.values())


def own_terms(pipelines: Iterable[Pipeline]) -> list[OwnTerm]:
    """Those of users' own, each once by its file."""
    told = (term for pipeline in pipelines for link in pipeline.links for term in link.terms)
    return list({(term.term, term.source): term for term in told if isinstance(term, OwnTerm)}.values())


def sources(pipelines: Iterable[Pipeline]) -> dict[str, str]:
    """Hashes of the files that make users' own networks and terms, by their names: a search goes on with the same."""
    pipelines = list(pipelines)
    found = {term.called: term.source for term in own_terms(pipelines)}
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
    """The files that make users' own networks and terms, where every machine finds them: the function's with what it
    imports beside it, and the weights."""
    pipelines = list(pipelines)
    for term in own_terms(pipelines):
        _pack(Path(term.term.rpartition(":")[0]), _packed(storage, term))
        storage.push(_packed(storage, term))
    for net in own_networks(pipelines):
        path, weights = Path(net.factory.rpartition(":")[0]), Path(net.weights or "")
        if path.suffix == ".py":
            _pack(path, _packed(storage, net))
        if net.weights and not _weights(storage, net).exists():
            with whole(_weights(storage, net)) as draft:
                shutil.copyfile(weights, draft)
        for file in (_packed(storage, net), _weights(storage, net)):
            if file.is_file():
                storage.push(file)


def _pack(path: Path, archive: Path) -> None:
    if not archive.exists():
        with whole(archive) as draft:
            draft.write_bytes(code.packed(path))


def _packed(storage: Storage, own: Own | OwnTerm) -> Path:
    return shelf(storage) / f"{own.source}.zip"


def _weights(storage: Storage, net: Own) -> Path:
    return shelf(storage) / net.weights_hash / Path(net.weights or "").name


def bring(pipeline: Pipeline, storage: Storage) -> None:
    """Make a worker find the files of a pipeline's networks and terms."""
    nets = own_networks([pipeline])
    for net in nets:
        if net.weights and not _weights(storage, net).exists():
            storage.pull(_weights(storage, net))
    for own in (*nets, *own_terms([pipeline])):
        if not (_packed(storage, own).exists() or storage.pull(_packed(storage, own))):
            continue
        code.look_in(_packed(storage, own).parent)
        code.unpack(_packed(storage, own))
