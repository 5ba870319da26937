"""Does a deeper student learn more from the same hint?

kdsearch tune depth --seeds 3                 4 cells × 3 seeds, about a minute on two CPU cores (digits)
kdsearch tune depth --seeds 3 --data cifar10  at seed 1's size, for a GPU

Seed 1, tables 3 and 4, figures 7 and 8: its students of 3, 6, 9 and 12 convolutions, hint 1 to the end of the first
block, λ = 0.75, τ = 2.

Found on CIFAR-10 at a size for two cores (1,800 training, 1,200 validation images, 12 epochs, batches of 32, 3 seeds):
41.3 ± 0.6 % with 3 convolutions, 36.9 ± 4.5 with 6, 30.3 ± 6.1 with 9, 27.3 ± 8.4 with 12, the opposite of the print:
without batch normalisation a deep student has hardly begun to learn by then.
"""

import optuna

from kdsearch.config import KD, Budget, Data, Fit, Hints, Link, Pair, Pipeline
from kdsearch.papers import HINTING, STUDENTS

BUDGET = Budget(epochs=20, teacher_epochs=15, batch_size=32, sampler="grid")
FULL_BUDGET = Budget(epochs=20, teacher_epochs=15, sampler="grid")
REFERENCE = None  # the question compares students

FIT = Fit(batch_size=None)


def space(trial: optuna.Trial) -> Pipeline:
    student = STUDENTS[trial.suggest_int("depth", 3, 12, step=3)]
    return Pipeline(
        links=(
            Link(net=HINTING, fit=FIT),
            Link(
                net=student,
                fit=FIT,
                hints=Hints(pairs=(Pair(hint=1, guided=student.block_end(1)),)),
                kd=KD(weight=0.25, temperature=2.0),
            ),
        ),
        data=Data(name="digits"),
    )
