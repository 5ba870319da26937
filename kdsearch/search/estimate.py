"""How long a search will take, as far as a few steps of training tell."""

import math
import os
import statistics
import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from kdsearch.cluster.session import joined
from kdsearch.config.methods import BSS
from kdsearch.config.net import AnyNet
from kdsearch.config.pipeline import Link, Pipeline
from kdsearch.data.memory import Images
from kdsearch.data.sight import seen_by
from kdsearch.distill.device import precision_of
from kdsearch.distill.store import key_of
from kdsearch.errors import Refusal
from kdsearch.nets.build import build, placed
from kdsearch.nets.survey import extra
from kdsearch.results import files
from kdsearch.results import tables as results_tables
from kdsearch.results.format import duration
from kdsearch.search.plan import Plan
from kdsearch.search.teachers import distinct_chains

STEPS = 3
"""Of training, timed; the median counts."""

BESIDE = 1.2
"""Of a step: reading a teacher's answers, validation, reports."""


FORWARD = 1 / 3
"""Of a step of training: the pass that a teacher makes, too."""


@dataclass(frozen=True)
class Estimate:
    """Seconds, of all trials to their end: stopping saves some."""

    teachers: float
    students: float
    said: str
    """What the students' part is of."""

    def __str__(self) -> str:
        before = f"teachers {duration(self.teachers)}, " if self.teachers else ""
        return f"about {duration(self.teachers + self.students)} if none is stopped early: {before}{self.said}"


def estimate(plan: Plan) -> Estimate | None:
    """Of a search on this machine; None on a cluster, whose nodes nobody has seen yet, and where a step does not fit
    the GPU beside what runs there. Raises Refusal where one does not fit the memory."""
    if joined(plan.asked.address) is not None:
        return None
    try:
        return _estimate(plan)
    except torch.OutOfMemoryError:
        return None
    except RuntimeError as error:  # PyTorch's word for a processor's memory that is full
        if "can't allocate memory" not in str(error):
            raise
        _, height, width = plan.images.shape
        raise Refusal(
            f"A step of training must fit this machine's memory, but {plan.teacher.fit.batch_size} images of "
            f"{width}×{height} through the teacher do not; lower --image-size, or --set teacher.fit.batch_size=16."
        ) from None
    finally:
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()  # it is the trials'


def _estimate(plan: Plan) -> Estimate:
    kind = "cuda" if torch.cuda.is_available() and plan.asked.gpus_per_trial != 0 else "cpu"
    images = plan.images.to(torch.device(kind), precision_of(plan.asked.precision, kind))
    middle = sorted((draw.pipeline.student for draw in plan.draws[:100]), key=lambda link: _macs(plan, link.net))
    student = middle[len(middle) // 2]
    chains = [chain for chain in distinct_chains([draw.pipeline for draw in plan.draws]) if not _stored(plan, chain)]
    threads = torch.get_num_threads()
    torch.set_num_threads(max(int(plan.asked.cpus_per_trial), 1))
    try:
        teachers = sum(_seconds(chain.student, images) * _times(plan, chain) for chain in chains)
        each = _seconds(student, images)
    finally:
        torch.set_num_threads(threads)
    each *= statistics.fmean(_times(plan, draw.pipeline) for draw in plan.draws[:100])
    side = _together(plan, kind)
    if not (plan.data.fixed_views and plan.cache_limit) and plan.teacher is not student and student.kd:
        each *= 1 + FORWARD * _macs(plan, plan.teacher.net) / _macs(plan, student.net)  # asked anew in every step
    left = plan.total - _ended(plan)
    said = f"{left:,} students of up to {plan.epochs} epochs, {side} side by side"
    return Estimate(teachers, math.ceil(left / side) * each, said)


def _times(plan: Plan, pipeline: Pipeline) -> float:
    """How many steps of labels a step of its student takes, by multiplications: companions train as it does; of an
    image that is attacked its teacher's gradient is asked step after step, then the student learns from it again."""
    link, macs = pipeline.student, _macs(plan, pipeline.student.net)
    found = 1 + extra(link, plan.images.shape, len(plan.images.classes))[1] / macs
    for term in link.terms:
        if isinstance(term, BSS) and pipeline.hinting:
            teacher = 0 if term.recorded else _macs(plan, pipeline.hinting) / macs * (1 + 2 * term.steps)
            found += min(term.size / (link.fit.batch_size or 128), 1) * (FORWARD * teacher + 1)
    return found


def _ended(plan: Plan) -> int:
    """Trials of a search that goes on which are over."""
    rows = results_tables.read(plan.folder).trials.values() if plan.place.before else ()
    return sum(row["state"] in files.ENDED for row in rows)


def _macs(plan: Plan, net: AnyNet) -> int:
    return plan.survey(net).macs


def _stored(plan: Plan, chain: Pipeline) -> bool:
    return key_of(chain, len(chain.links) - 1, plan.images.fingerprint) in plan.store


def _together(plan: Plan, kind: str) -> int:
    """Trials side by side on this machine."""
    cores = (os.cpu_count() or 1) / plan.asked.cpus_per_trial
    if kind == "cuda":
        cores = min(cores, torch.cuda.device_count() / (plan.asked.gpus_per_trial or 1))
    return max(1, min(int(cores), plan.asked.max_concurrent or plan.total, plan.total))


def _seconds(link: Link, images: Images) -> float:
    """Of all epochs of a link."""
    if not link.fit.epochs:
        return 0.0
    steps = math.ceil(images.length(link.fit) / (link.fit.batch_size or 128)) * (link.fit.epochs or 0)
    return BESIDE * steps * step(link, images)


def step(link: Link, images: Images) -> float:
    """Seconds of one step of training by labels, after one that is not counted; no randomness is used up."""
    shape, images = images.shape, seen_by(images, link.net)
    rows = torch.arange(link.fit.batch_size or 128) % len(images.train)
    with torch.random.fork_rng():
        net = placed(build(link.net, shape, len(images.classes)), images.mean.device).train()
        steps, taken = torch.optim.SGD(net.parameters(), 1e-6), []
        for _ in range(1 + STEPS):
            started = time.perf_counter()
            with images.autocast():
                loss = F.cross_entropy(
                    net(images.prepare(images.train[rows])).float(), images.labels[rows].to(images.mean.device)
                )
            steps.zero_grad()
            loss.backward()
            steps.step()
            if images.mean.device.type == "cuda":
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])
