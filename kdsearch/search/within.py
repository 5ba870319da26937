"""Draws within the limits of a search, before anything is trained: what is counted of all of them, and what is measured
of a few, since a measurement takes seconds."""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from kdsearch.config.net import AnyNet
from kdsearch.errors import Refusal
from kdsearch.results.format import amount
from kdsearch.results.objectives import OBJECTIVES, millionths
from kdsearch.search.limits import Limits, microseconds_of
from kdsearch.search.plan import Plan, Progress
from kdsearch.search.resume import check_runtime
from kdsearch.search.spaces import Draw

if TYPE_CHECKING:
    from kdsearch.nets.latency import Latency

MEASURED = 6
"""Draws whose latency is measured before the first trial: the smallest of each depth."""

TIME = OBJECTIVES["latency"]


def counted(plan: Plan, progress: Progress) -> Plan:
    """With the draws that exceed no limit that is counted; raises Refusal where there is none."""
    if not plan.limits.counted.set():
        return _with(plan, plan.draws)
    kept, costs = [], []
    for number, draw in enumerate(plan.draws, start=1):
        costs.append(plan.costs(draw.pipeline))
        if plan.limits.counted.met(costs[-1]):
            kept.append(draw)
        progress("sizing pipelines", number, len(plan.draws))
    if not kept:
        raise plan.limits.counted.refusal(plan.space.name, costs)
    return _with(plan, kept)


def _with(plan: Plan, kept: Sequence[Draw], least: int = 0) -> Plan:
    plan = replace(plan, draws=tuple(kept))
    if plan.sampler == "grid" and plan.trials > len(kept):
        fewer = plan.trials < sys.maxsize  # somebody asked for more than there are
        why = f"every cell of '{plan.space.name}' was drawn" if fewer else ""
        plan = replace(plan, trials=max(len(kept), least), why_ended=why or plan.why_ended)
    return plan


def timed(plan: Plan, progress: Progress) -> Plan:
    """Where latency matters: with what it is measured beside, with a limit of it as a ratio, with the sizes of students
    by it, and what a user is told of that. A search that goes on keeps its own. Raises Refusal where no draw can be
    fast enough, as far as a sample tells."""
    if not (plan.looked_at.measured or plan.asked.max_latency):
        return plan
    from kdsearch.nets import latency  # seconds: what it measures in

    teacher, images = (plan.space.repeats or plan.teacher).net, plan.images
    measure = partial(latency.beside, teacher=teacher, image=images.shape, classes=len(images.classes))
    plan = replace(plan, measure=measure, runtime=latency.runtime())
    before = plan.place.before
    if before:
        check_runtime(before, plan.runtime)
        speed = before.limits.get("min_speed")
        said = f"Limit: {speed:,.3g} × the speed of the teacher, as when the search began" if speed else ""
        plan = replace(plan, limits=replace(plan.limits, min_speed=speed), notes=_notes(plan, said))
    else:
        plan = _begun(plan, progress)
    _measured(plan, [own.student.net for own in plan.references.values()], progress)
    return cells(plan, progress)


def _begun(plan: Plan, progress: Progress) -> Plan:
    """Of a new search: a sample is measured, and tells all."""
    found = _measured(plan, _sample(plan), progress)
    said = ""
    if plan.asked.max_latency is not None:
        limit, fastest = microseconds_of(plan.asked.max_latency), _fastest(found)
        plan = replace(plan, limits=replace(plan.limits, min_speed=fastest.teacher / limit))
        if fastest.microseconds > limit:
            raise _too_slow(plan, limit, fastest, len(found))
        said = _said(plan, limit, fastest.teacher)
    if plan.looked_at.measured:
        ratios = [one.ratio for one in found.values()]
        plan = replace(plan, sizes=(millionths(max(ratios)), millionths(min(ratios))))
    return replace(plan, notes=_notes(plan, said))


def _sample(plan: Plan) -> list[AnyNet]:
    """Students to measure: for a limit the smallest ones; to order students by latency one of each end."""
    ranked = smallest(plan, (draw.pipeline.student.net for draw in plan.draws))
    found = ranked[: MEASURED if plan.asked.max_latency is not None else 1]
    if plan.looked_at.measured:
        found.append(max(ranked, key=lambda net: plan.survey(net).parameters))
    return found


def smallest(plan: Plan, nets: Iterable[AnyNet]) -> list[AnyNet]:
    """By parameters, which are quickly counted, the smallest of each depth before all others: of tiny networks each
    layer costs time, however little it multiplies."""
    before: Counter[int] = Counter()
    places: dict[AnyNet, tuple[int, int]] = {}
    for net in sorted(dict.fromkeys(nets), key=lambda net: plan.survey(net).parameters):
        places[net] = (before[net.layers], plan.survey(net).parameters)
        before[net.layers] += 1
    return sorted(places, key=lambda net: places[net])


def _measured(plan: Plan, nets: Sequence[AnyNet], progress: Progress) -> "dict[AnyNet, Latency]":
    """Each once; raises Refusal for one that cannot be."""
    assert plan.measure is not None
    found: dict[AnyNet, Latency] = {}
    nets = list(dict.fromkeys(nets))
    for number, net in enumerate(nets, start=1):
        progress("measuring latency", number - 1, len(nets))
        found[net] = plan.measure(net)
        progress("measuring latency", number, len(nets))
    return found


def cells(plan: Plan, progress: Progress) -> Plan:
    """Of a grid with a limit of latency, the cells within it: all are measured. Random draws are, when it is their
    turn."""
    if plan.sampler != "grid" or plan.limits.min_speed is None:
        return plan
    found = _measured(plan, [draw.pipeline.student.net for draw in plan.draws], progress)
    speed = Limits(min_speed=plan.limits.min_speed)
    kept = [draw for draw in plan.draws if speed.met(plan.costs(draw.pipeline))]
    if not kept:
        fastest = _fastest(found)
        raise _too_slow(plan, fastest.teacher / plan.limits.min_speed, fastest, len(found))
    # On another machine a search that goes on may find fewer than it has drawn.
    return _with(plan, kept, plan.place.before.trials if plan.place.before else 0)


def _fastest(found: "Mapping[AnyNet, Latency]") -> "Latency":
    return min(found.values(), key=lambda one: one.microseconds)


def _too_slow(plan: Plan, limit: float, fastest: "Latency", count: int) -> Refusal:
    return Refusal(
        f"No pipeline of '{plan.space.name}' is known to take {limit:,.4g} µs or less: the fastest of "
        f"{len(plan.draws):,} draws takes {amount(TIME, fastest.microseconds)} (measured on a sample of {count}, the "
        f"smallest of each depth), the teacher {amount(TIME, fastest.teacher)} ({_in(plan)}). Give "
        f"--max-latency {_rounded(fastest.microseconds)}us or more, or a space with faster students."
    )


def _rounded(fastest: float) -> str:
    """A little more than the fastest takes, in two digits."""
    return f"{float(f'{1.15 * fastest:.2g}'):.10g}"


def _said(plan: Plan, limit: float, teacher: float) -> str:
    speed = f"{teacher / limit:,.3g} × the speed of the teacher"
    return f"Limit: {limit:,.4g} µs, {speed}, which takes {amount(TIME, teacher)} here ({_in(plan)})"


def _in(plan: Plan) -> str:
    return f"{plan.runtime}, one thread"


def _notes(plan: Plan, said: str) -> tuple[str, ...]:
    """What a user is told, once."""
    eager = (
        "Latency is measured in PyTorch's eager mode here, in which small networks take several times as long as where "
        "they are deployed: pip install 'kdsearch[deploy]' measures in onnxruntime."
    )
    return tuple(text for text in (said, eager if "eager" in plan.runtime else "") if text)
