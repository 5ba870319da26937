"""Where should the hint sit: early, in the middle, late, or nowhere?

kdsearch tune hint_location --seeds 3                 5 cells × 3 seeds, about a minute on two CPU cores (digits)
kdsearch tune hint_location --seeds 3 --data cifar10  at seed 1's size, for a GPU

Seed 1, tables 1 and 2: its teacher and its student of nine convolutions, λ = 0.75, τ = 2. There, hint students had 20
epochs and the others 15; here every cell has the same number, hint epochs included.

Found on CIFAR-10 at a size for two cores (1,800 training, 1,200 validation images, 12 epochs, batches of 32, 3 seeds):
3→9 39.2 ± 6.8 %, KD 36.1 ± 2.6, labels 35.4 ± 2.2, 2→6 33.9 ± 5.1, 1→3 30.3 ± 6.1. Only 1→3 is behind beyond noise.
"""

import optuna

from kdsearch.config import KD, Budget, Data, Fit, Hints, Link, Pair, Pipeline
from kdsearch.papers import HINTING, STUDENTS

BUDGET = Budget(epochs=20, teacher_epochs=15, batch_size=32, sampler="grid")
FULL_BUDGET = Budget(epochs=20, teacher_epochs=15, sampler="grid")
REFERENCE = None  # labels and KD are cells

PAIRS = {
    "1→3": Pair(hint=1, guided=3),
    "2→6": Pair(hint=2, guided=6),
    "3→9": Pair(hint=3, guided=9),
}
FIT = Fit(batch_size=None)


def space(trial: optuna.Trial) -> Pipeline:
    hint = trial.suggest_categorical("hint", ["labels", "KD", *PAIRS])
    student = Link(
        net=STUDENTS[9],
        fit=FIT,
        hints=Hints(pairs=(PAIRS[hint],)) if hint in PAIRS else None,
        kd=KD(weight=0.25, temperature=2.0) if hint != "labels" else None,
    )
    return Pipeline(links=(Link(net=HINTING, fit=FIT), student), data=Data(name="digits"))
