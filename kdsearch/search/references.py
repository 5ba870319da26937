"""The references of a search: one student, taught by labels, by answers, by hints and answers, with equal budgets."""

from collections import Counter

from kdsearch.config.net import AnyNet, Own
from kdsearch.config.pipeline import KD, Hints, Link, Pair, Pipeline
from kdsearch.errors import Refusal
from kdsearch.nets.survey import survey
from kdsearch.search.networks import certain
from kdsearch.search.settings import Settings, resolve
from kdsearch.search.spaces import MIDDLE, REFERENCES, Draw, Space, commonest_teacher


def references(space: Space, drawn: list[Draw], settings: Settings) -> dict[str, Pipeline]:
    """Labels only, KD only, hint + KD on the reference student: the space's teacher and data, the commonest recipe; no
    hint where one of the two shows no map."""
    if space.reference is None:
        return {}
    first = drawn[0].pipeline
    recipes = Counter(draw.pipeline.student.fit.model_copy(update={"fraction": 1.0}) for draw in drawn)
    teacher, fit = commonest_teacher(drawn), recipes.most_common(1)[0][0]
    net = _middle(drawn, settings) if space.reference == MIDDLE else space.reference
    assert not isinstance(net, str)
    pair = Pair(hint="1/2", guided="1/2") if isinstance(net, Own) else Pair(hint=teacher.net.middle, guided=net.middle)
    hint = all(one.layers for one in (teacher.net, net) if not isinstance(one, Own) or one.source)
    if fit.epochs == 1 and hint:
        raise Refusal(
            f"The reference with a hint needs an epoch for each stage, but students of '{space.name}' have 1 in all; "
            f"give them --epochs 2 or more."
        )
    arms: tuple[dict, ...] = ({}, {"kd": KD()}, {"kd": KD(), "hints": Hints(pairs=(pair,))})
    return {
        name: certain(
            resolve(Pipeline(links=(teacher, Link(net=net, fit=fit, **arm)), data=first.data), settings), settings
        )
        for name, arm in zip(REFERENCES, arms[: 3 if hint else 2], strict=False)
    }


def _middle(drawn: list[Draw], settings: Settings) -> AnyNet:
    """The student in the middle of those drawn, by parameters, once the images are known."""
    nets = [draw.pipeline.student.net for draw in drawn]
    if settings.shape is None or settings.classes is None:
        return nets[0]
    image, classes = settings.shape, len(settings.classes)
    return sorted(nets, key=lambda net: survey(net, image, classes).parameters)[len(nets) // 2]
