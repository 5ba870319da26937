"""Networks that a search is given by name: its teacher, the family of its students, and where their files travel."""

import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from kdsearch.config.net import Eye, Own
from kdsearch.config.parse import load_yaml, parse
from kdsearch.config.pipeline import Pipeline
from kdsearch.errors import Refusal, unknown
from kdsearch.nets import factory, settle
from kdsearch.nets.own import placed
from kdsearch.nets.settle import settled
from kdsearch.search.asked import Asked
from kdsearch.search.settings import Settings
from kdsearch.storage import code
from kdsearch.storage.bucket import Storage
from kdsearch.storage.files import whole

EXAMPLE = (
    "kdsearch tune {space} --data ./photos --teacher my_nets.py:teacher --teacher-weights best.safetensors "
    "--student my_nets.py:student (kdsearch init own writes my_nets.py)"
)


def check(asked: Asked, space: str, takes: bool) -> None:
    """Raises Refusal where a space that takes networks is given none, or one that takes none is given some."""
    names = {"--teacher": asked.teacher, "--student": asked.student}
    if takes and (lacking := [name for name, value in names.items() if value is None]):
        raise Refusal(
            f"The space '{space}' searches for a teacher and a family of students that are given, but "
            f"{' and '.join(lacking)} is missing; for example: {EXAMPLE.format(space=space)}"
        )
    told = {
        **names, "--teacher-weights": asked.teacher_weights, "--teacher-eye": asked.teacher_eye,
        "--teacher-train": asked.teacher_train,
    }  # fmt: skip
    if not takes and (given := [name for name, value in told.items() if value is not None]):
        raise Refusal(
            f"The space '{space}' has its own teacher and students, but got {given[0]}; 'own' takes yours, or a space "
            f"of your own with space(trial, teacher, student)."
        )


def teacher(asked: Asked) -> Own | None:
    """The given teacher; raises Refusal for an eye that cannot be."""
    if asked.teacher is None:
        return None
    return placed(
        Own(kind="own", factory=asked.teacher, weights=asked.teacher_weights, eye=eye(asked.teacher_eye or ()))
    )


def files(asked: Asked) -> dict[str, str | None]:
    """The given networks' options, their files as every process finds them."""
    named = {
        name: placed(Own(kind="own", factory=factory)).factory if factory else None
        for name, factory in (("teacher", asked.teacher), ("student", asked.student))
    }
    weights = asked.teacher_weights
    return named | {"teacher_weights": weights and str(Path(weights).expanduser().resolve())}


def eye(words: Iterable[str]) -> Eye:
    """`size=96 mean=0.5,0.5,0.5`; raises Refusal."""
    plain: dict[str, Any] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if name not in Eye.model_fields:
            raise unknown("part of a teacher's eye", name, Eye.model_fields)
        if not sign:
            raise Refusal(f"--teacher-eye takes KEY=VALUE, such as size=96, but got '{word}'.")
        listed = name in ("mean", "std", "classes") or "," in value
        try:
            plain[name] = load_yaml(f"[{value}]" if listed and not value.startswith("[") else value)
        except yaml.YAMLError:
            raise Refusal(f"The value of --teacher-eye {name} must be YAML, but got '{value}'.") from None
    return parse(Eye, plain, "--teacher-eye")


def family(settings: Settings) -> Callable[[Any], Own]:
    """What draws a student of the given family by Optuna's trial."""
    name = settings.student or ""

    def student(trial: Any) -> Own:
        if (
            settings.shape is None or settings.classes is None
        ):  # the images are not known yet, and nobody looks at this draw's network
            return Own(kind="own", factory=name)
        arguments = factory.drawn(name, len(settings.classes), trial)
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
    trains = settings.teacher_train or ("head" if first.net.new_head else fit.trains)
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
