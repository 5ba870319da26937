"""Do several hints teach more than one?

kdsearch tune multi_hint --seeds 3                 7 cells × 3 seeds, 1–2 minutes on two CPU cores (digits)
kdsearch tune multi_hint --seeds 3 --data cifar10  at seed 1's size, for a GPU

Seed 1, tables 5 and 6, with the single hints and all three beside its pairs of hints: its student of nine convolutions,
each hint to the end of the block of the same number, λ = 0.75, τ = 2. Pairs share one loss with equal weights.

Found on CIFAR-10 at a size for two cores (1,800 training, 1,200 validation images, 12 epochs, batches of 32, 3 seeds):
2+3 40.1 ± 5.6 %, 1+2+3 39.8 ± 3.4, 3 39.2 ± 6.8, 1+3 39.1 ± 1.7, 1+2 36.6 ± 5.4, 2 33.9 ± 5.1, 1 30.3 ± 6.1: with
hint 3, more of them make no difference beyond noise; 1 or 2 alone are behind.
"""

import optuna

from kdsearch.config import KD, Budget, Data, Fit, Hints, Link, Pair, Pipeline
from kdsearch.papers import HINTING, STUDENTS

BUDGET = Budget(epochs=20, teacher_epochs=15, batch_size=32, sampler="grid")
FULL_BUDGET = Budget(epochs=20, teacher_epochs=15, sampler="grid")
REFERENCE = None  # single hints are what several are compared with

FIT = Fit(batch_size=None)


def space(trial: optuna.Trial) -> Pipeline:
    hints = trial.suggest_categorical("hints", ["1", "2", "3", "1+2", "2+3", "1+3", "1+2+3"])
    blocks = [int(block) for block in hints.split("+")]
    student = Link(
        net=STUDENTS[9],
        fit=FIT,
        hints=Hints(
            pairs=tuple(
                Pair(hint=block, guided=STUDENTS[9].block_end(block), weight=1 / len(blocks)) for block in blocks
            )
        ),
        kd=KD(weight=0.25, temperature=2.0),
    )
    return Pipeline(links=(Link(net=HINTING, fit=FIT), student), data=Data(name="digits"))
