"""Does a softened answer help a student that has half of its teacher's size?

kdsearch tune mnist_basics --seeds 5                       2 cells × 5 seeds, half a minute on two CPU cores (digits)
kdsearch tune mnist_basics --seeds 5 --data mnist          at seed 2's size, minutes on a CPU

Seed 2, table 1: its MNIST teacher and student, α = 0.2, T = 10. Labels are near the ceiling there, so that only
replicates can show a difference: seed 2 had 20 of each, and one teacher.
"""

import optuna

from kdsearch.config import KD, Budget, Data, Fit, Link, Pipeline
from kdsearch.papers import MNIST_STUDENT, MNIST_TEACHER

BUDGET = Budget(epochs=10, teacher_epochs=20, batch_size=32, sampler="grid")
FULL_BUDGET = Budget(epochs=10, teacher_epochs=10, batch_size=32, sampler="grid")
REFERENCE = None  # labels and KD are cells

FIT = Fit(batch_size=None)


def space(trial: optuna.Trial) -> Pipeline:
    taught = trial.suggest_categorical("taught", ["labels", "KD"])
    kd = KD(weight=0.2, temperature=10.0) if taught == "KD" else None
    return Pipeline(
        links=(Link(net=MNIST_TEACHER, fit=FIT), Link(net=MNIST_STUDENT, fit=FIT, kd=kd)), data=Data(name="digits")
    )
