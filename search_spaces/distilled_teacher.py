"""Does a student of a student learn more: for how many generations?

kdsearch tune distilled_teacher --seeds 3                 4 cells × 3 seeds, about a minute on two CPU cores (digits)
kdsearch tune distilled_teacher --seeds 3 --data cifar10  12 students of 50 epochs, for several GPUs

Seed 2, experiment 5: a student of six convolutions that ResNet-18 had taught teaches the next of its kind. Generation 0
learns from labels alone, 1 from ResNet-18, 2 and 3 from a student of the generation before; α = 0.4, T = 4.
"""

import optuna

from kdsearch.config import KD, Budget, Data, Fit, Link, Pipeline
from kdsearch.papers import RESNET18, SIX_CONV

BUDGET = Budget(epochs=10, teacher_epochs=10, batch_size=32, sampler="grid")
FULL_BUDGET = Budget(epochs=50, teacher_epochs=90, batch_size=64, sampler="grid")
REFERENCE = None  # generation 0 is a cell

TEACHER_FIT = Fit(
    batch_size=None, optimizer="sgd", learning_rate=0.1, momentum=0.9, weight_decay=2e-4, schedule="cosine"
)
FIT = Fit(batch_size=None, schedule="cosine")


def space(trial: optuna.Trial) -> Pipeline:
    generation = trial.suggest_int("generation", 0, 3)
    kd = KD(weight=0.4, temperature=4.0)
    # Each generation in between has a seed of its own: a network does not teach its twin.
    between = [Link(net=SIX_CONV, fit=FIT, kd=kd, seed=1000 + number) for number in range(1, generation)]
    student = Link(net=SIX_CONV, fit=FIT, kd=kd if generation else None)
    return Pipeline(links=(Link(net=RESNET18, fit=TEACHER_FIT), *between, student), data=Data(name="digits"))
