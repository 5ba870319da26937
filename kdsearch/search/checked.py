"""What a given teacher is worth on these images: told before anything is trained, refused where it knows nothing."""

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import nn

from kdsearch.config.net import Net, Own, sees
from kdsearch.config.pipeline import KD, Data, Fit, Link, Pipeline
from kdsearch.data.folder import placed as data_placed
from kdsearch.data.images import load
from kdsearch.data.memory import Images
from kdsearch.data.pictures import Progress
from kdsearch.data.sight import seen
from kdsearch.data.sources import silent
from kdsearch.distill import given
from kdsearch.distill.device import precision_of
from kdsearch.distill.pipeline import untrained
from kdsearch.distill.teacher import bytes_a_view
from kdsearch.distill.weights import digest
from kdsearch.errors import listed
from kdsearch.nets import filled
from kdsearch.nets.settle import settled
from kdsearch.nets.survey import survey
from kdsearch.results.format import duration, percent, size
from kdsearch.results.show import console
from kdsearch.search import worth
from kdsearch.search.given import eye as eye_of
from kdsearch.search.progress import Watch
from kdsearch.search.worth import Checked, epochs_of, reached

MAPPED = 6
"""So many classes of a renaming are named."""


def teacher(
    factory: str,
    data: str = "digits",
    *,
    weights: str | Path | None = None,
    eye: Iterable[str] = (),
    image_size: int | None = None,
    data_dir: str | Path = "data",
    progress: bool = True,
) -> Checked:
    """Check a teacher of one's own on a data set, without searching anything; `eye`: words such as size=96.

    Raises Refusal where it cannot run."""
    net = Own(kind="own", factory=factory, weights=weights and str(weights), eye=eye_of(eye))
    pipeline = Pipeline(
        links=(Link(net=net, fit=Fit(epochs=0)),), data=Data(name=data_placed(data), image_size=image_size)
    )
    with Watch(console(quiet=not progress)) as watch:
        images = load(pipeline.data, Path(data_dir), watch.read)
        watch.out.print(images.account, soft_wrap=True)
        taught = Link(net=Net(), kd=KD(), fit=Fit(epochs=1))
        learner = pipeline.model_copy(update={"links": (*pipeline.links, taught)})
        first, learner = (settled(one, images.shape, images.classes) for one in (pipeline, learner))
        found = check(first, [learner], images, watch.read)
        worth.show(found, watch.out.print, watch.warn)
        if found.refusal:
            watch.out.print(f"Refused: {found.refusal}", style="red", soft_wrap=True)
    return found


def check(
    pipeline: Pipeline,
    learners: Iterable[Pipeline],
    images: Images,
    progress: Progress = silent,
    precision: str = "auto",
) -> Checked:
    """Of the first link of a pipeline; `learners`: pipelines whose recorded answers are reckoned. Raises Refusal where
    it cannot run."""
    link, device = pipeline.links[0], torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = images.to(device, precision_of(precision, device.type))
    net = untrained(pipeline, 0, images).eval().requires_grad_(False)
    own = link.net
    assert isinstance(own, Own)
    facts = [_described(own, images), *(filled.given(net, own) if own.weights else ())]
    if link.fit.epochs:
        part = f"its {own.head} alone, drawn anew," if link.fit.trains == "head" else "the whole"
        return Checked(own, (*facts, f"{part} trains for {epochs_of(link.fit.epochs)} first"))
    if own.new_head:
        told = f"its weights are of other classes: a search draws its {own.head} anew and trains it alone first"
        return Checked(own, (*facts, f"{told} (--teacher-epochs)"))
    before = digest(net)
    told = given.heard(net, seen(images, own.eye), progress=progress)
    facts.append(
        f"{reached(told.accuracy, images)}; {told.rate:,.0f} images/s" + _recording(learners, images, told.rate)
    )
    facts.append(
        "if it has learned from these images before, it seems better than it is: images of your own in val/ judge it "
        "fairly, and --test the student"
    )
    best = given.other(net, own, images, told, progress) if told.finite else None
    refusal = _refusal(net, own, images, told, best)
    warnings = (_better(best),) if best and not refusal else ()
    if digest(net) != before:
        refusal = (
            refusal or "it changes while it answers (its buffers move in evaluation mode), so that no answer holds"
        )
    return Checked(own, tuple(facts), warnings, refusal, told.accuracy)


def _described(own: Own, images: Images) -> str:
    found = survey(own, images.shape, len(images.classes))
    weights = f"weights {Path(own.weights).name} ({own.weights_hash}), " if own.weights else ""
    sight = seen(images, own.eye)
    mean, std = (", ".join(f"{float(one):.3f}" for one in some.flatten()) for some in (sight.mean, sight.std))
    _, height, width = sees(own, images.shape)
    order = ", channels BGR" if own.eye.order == "bgr" else ""
    return (
        f"{own.called}, {found.parameters:,} parameters, {_short(found.macs)} multiply-accumulates, {weights}"
        f"sees {width}×{height}{order}, mean {mean}, std {std}"
    )


def _short(count: float) -> str:
    for unit, word in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= unit:
            return f"{count / unit:.3g} {word}"
    return f"{count:g}"


def _recording(learners: Iterable[Pipeline], images: Images, rate: float) -> str:
    learners = list(learners)
    each = bytes_a_view(learners, images)
    if not each or not images.views:
        return ""
    work = duration(images.views * len(images.train) / rate)
    return f"; recording its answers (views: {images.views}) takes about {work} and up to {size(images.views * each)}"


def _better(other: given.Other) -> str:
    reached, now = percent(other.accuracy), percent(other.before)
    return f"{reached} instead of {now} (of {other.images:,} images) {other.way.said}: {_options(other.way.words)}"


def _refusal(net: nn.Module, own: Own, images: Images, told: given.Heard, best: given.Other | None) -> str:
    """Why it should teach nobody; `best`: the best other way of seeing that is better beyond chance."""
    if not told.finite:
        broken = [name for name, value in net.state_dict().items() if not value.isfinite().all()]
        weights = f"; its weights hold some, too: {listed(broken[:MAPPED])}" if broken else ""
        return f"some of its outputs are no finite numbers (NaN or infinite){weights}"
    if told.probabilities:
        return "its outputs are probabilities (each row sums to 1), not logits: --teacher-eye outputs=probabilities"
    names = given.renamed(told, images.classes)
    if names and (best is None or best.accuracy <= names[1]):  # who sees wrongly may seem to have other names
        wrong, reached = names
        some = listed(f"its '{one}' is your '{other}'" for one, other in list(wrong.items())[:MAPPED])
        more = f" and {len(wrong) - MAPPED} more" if len(wrong) > MAPPED else ""
        order = ",".join(wrong.get(name, name) for name in (images.classes if not own.columns else ()))
        way = f": --teacher-eye classes={order}" if order else "; its eye's classes name its outputs in their order"
        return (
            f"{percent(told.accuracy)} of the images, but {percent(reached)} (of every second one) if its classes were "
            f"renamed: {some}{more}{way}"
        )
    if not told.at_chance(len(images.classes)):
        return ""
    said = f"it answers at chance ({percent(told.accuracy)} of {len(told.right):,} images)"
    if best is None:
        return (
            f"{said}, however it sees; are these its weights (--teacher-weights), and its classes these? "
            f"--teacher-epochs trains it"
        )
    return f"{said}; {best.way.said} it would be {percent(best.accuracy)}: {_options(best.way.words)}"


def _options(words: Iterable[str]) -> str:
    return " ".join(f"--teacher-eye {word}" for word in words)
