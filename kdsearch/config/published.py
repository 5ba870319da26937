"""The methods of distillation as published: what a student's link says of each, with its default weights. Imports
neither torch nor ray."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kdsearch.config.companions import BYOT, DML, ONE
from kdsearch.config.methods import AT, BSS, FSP, PKT, RKD, SP
from kdsearch.config.net import Net, ResNet
from kdsearch.config.part import Ramp, Weight
from kdsearch.config.pipeline import KD, Hints, Pair

BuiltIn = Net | ResNet


@dataclass(frozen=True)
class Published:
    """A method, and where its weights come from."""

    knowledge: str
    """response (answers), feature (maps) or relation (images among themselves)."""
    strategy: str
    """offline (a trained teacher), online (networks that train side by side) or self (a network's own depths)."""
    equation: str
    """What is added to cross-entropy, as a line; p: probabilities at τ, z: logits, F: maps, e: embeddings, t: teacher,
    s: student."""
    source: str
    """Paper; whose code or table has the default."""
    link: Callable[[BuiltIn, BuiltIn], dict[str, Any]]
    """Of teacher and student: fields of the student's link."""


FIRST = 0.2
"""Of the epochs: the first stage of methods that have one."""

SOFT = KD(weight=0.9)


def _middle(teacher: BuiltIn, student: BuiltIn) -> dict[str, Any]:
    pair = Pair(hint=teacher.middle, guided=student.middle)
    return {"hints": Hints(pairs=(pair,), share=FIRST, regressor="conv1x1"), "kd": SOFT}


def _flows(teacher: BuiltIn, student: BuiltIn) -> dict[str, Any]:
    hints, guided = (sorted({1, *net.ends}) for net in (teacher, student))
    count = min(len(hints), len(guided))
    pairs = tuple(Pair(hint=one, guided=own) for one, own in zip(hints[-count:], guided[-count:], strict=True))
    return {"hints": Hints(pairs=pairs, share=FIRST, match="flow"), "kd": SOFT}


METHODS = {
    "KD": Published(
        "response", "offline", "τ²·KL(p_t ‖ p_s)", "Hinton et al. 2015; RepDistiller", lambda *_: {"kd": SOFT}
    ),
    "BSS": Published(
        "response", "offline", "KL(p_t ‖ p_s) of images moved to the teacher's boundary, beside KD without τ²",
        "Heo et al. 2019 (AAAI); its code",
        lambda *_: {"kd": KD(weight=Ramp(start=4, end=1), temperature=3, squared=False, labels=1), "terms": (BSS(),)},
    ),
    "FitNet": Published(
        "feature", "offline", "first mean (r(F_s) − F_t)², then KD", "Romero et al. 2015; hint in the middle", _middle
    ),
    "FSP": Published(
        "feature", "offline", "first mean (G_s − G_t)², G = F_a·F_bᵀ / pixels, then KD",
        "Yim et al. 2017; RepDistiller", _flows,
    ),
    "AT": Published(
        "feature", "offline", "mean (A_s − A_t)², A = ΣF² over channels, of length 1",
        "Zagoruyko and Komodakis 2017; their code", lambda *_: {"terms": (AT(),)},
    ),
    "SP": Published(
        "relation", "offline", "mean (Q_s − Q_t)², Q = F·Fᵀ of a batch, rows of length 1",
        "Tung and Mori 2019; RepDistiller", lambda *_: {"terms": (SP(),)},
    ),
    "RKD-D": Published(
        "relation", "offline", "smooth L1 of distances ‖e_i − e_j‖ over their mean", "Park et al. 2019; RepDistiller",
        lambda *_: {"terms": (RKD(form="distances"),)},
    ),
    "RKD-A": Published(
        "relation", "offline", "smooth L1 of the cosines of angles e_i e_j e_k", "Park et al. 2019; RepDistiller",
        lambda *_: {"terms": (RKD(form="angles"),)},
    ),
    "RKD-DA": Published(
        "relation", "offline", "RKD-D and RKD-A", "Park et al. 2019; RepDistiller",
        lambda *_: {"terms": (RKD(form="distances"), RKD(form="angles"))},
    ),
    "PKT": Published(
        "relation", "offline", "mean p·log(p/q), p, q: (1 + cosine)/2 of a batch, rows of sum 1",
        "Passalis and Tefas 2018; RepDistiller", lambda *_: {"terms": (PKT(),)},
    ),
    "DKD": Published(
        "response", "offline", "τ²·(α·KL of {true, rest} + β·KL within the rest)", "Zhao et al. 2022; mdistiller",
        lambda *_: {"kd": KD(form="dkd", weight=Ramp(start=0, end=1, over=20 / 240), labels=1)},
    ),
    "DIST": Published(
        "response", "offline", "τ²·(1 − correlation of rows + 1 − correlation of columns)",
        "Huang et al. 2022; their code", lambda *_: {"kd": KD(form="dist", weight=2, labels=1)},
    ),
    "standardised KD": Published(
        "response", "offline", "τ²·KL(p_t ‖ p_s), each image's z of mean 0 and deviation 1",
        "Sun et al. 2024; their code", lambda *_: {"kd": KD(weight=9, labels=0.1, temperature=2, standardise=True)},
    ),
    "DML": Published(
        "response", "online", "τ²·mean of KL(p_peer ‖ p_s) over peers, in each network; labels for each",
        "Zhang et al. 2018; the paper",
        lambda *_: {"companions": DML()},
    ),
    "ONE": Published(
        "response", "online", "τ²·ΣKL(p_ensemble ‖ p_branch), the ensemble by a gate; labels for each and for it",
        "Lan et al. 2018; their code",
        lambda *_: {"companions": ONE()},
    ),
    "BYOT": Published(
        "response", "self", "τ²·ΣKL(p_deepest ‖ p_exit); labels for each",
        "Zhang et al. 2019 (ICCV); luanyunteng's code",
        lambda *_: {"companions": BYOT()},
    ),
}  # fmt: skip
"""By the name that tables have for them."""

ONE_TERM = ("KD", "DKD", "DIST", "standardised KD", "DML", "AT", "SP", "RKD-D", "RKD-A", "PKT", "FSP")
"""Methods that can be one term beside labels."""


def _term(name: str) -> Any:
    """What weighs it."""
    told = METHODS[name].link(ResNet(kind="resnet"), ResNet(kind="resnet"))
    return FSP() if name == "FSP" else told.get("kd") or told.get("companions") or told["terms"][0]


def _weight(weight: Weight) -> float:
    return weight.end if isinstance(weight, Ramp) else weight


WEIGHTS = {name: _weight(_term(name).weight) for name in ONE_TERM}
"""Of these, at the end where they change."""

TEMPERATURES = {name: _term(name).temperature for name in ONE_TERM if hasattr(_term(name), "temperature")}
"""Of those that soften."""
