"""How much distillation, and how soft: which α and which temperature?

kdsearch tune alpha_temperature                           25 cells, about 2 minutes on two CPU cores (digits)
kdsearch tune alpha_temperature --seeds 3 --data cifar10  75 students of 50 epochs, for several GPUs

Seed 2, experiment 2: ResNet-18 teaches the student of six convolutions on a grid of 5 × 5. α is the weight of the
distillation term, 1 − λ. There, one run a cell; differences of a point between neighbours were told as findings.
"""

import optuna

from kdsearch.config import KD, Budget, Data, Fit, Link, Pipeline
from kdsearch.papers import RESNET18, SIX_CONV

BUDGET = Budget(epochs=8, teacher_epochs=6, batch_size=32, sampler="grid")
FULL_BUDGET = Budget(epochs=50, teacher_epochs=90, batch_size=64, sampler="grid")
REFERENCE = None  # the question compares cells

TEACHER_FIT = Fit(
    batch_size=None, optimizer="sgd", learning_rate=0.1, momentum=0.9, weight_decay=2e-4, schedule="cosine"
)
FIT = Fit(batch_size=None, schedule="cosine")


def space(trial: optuna.Trial) -> Pipeline:
    alpha = trial.suggest_categorical("alpha", [0.2, 0.4, 0.6, 0.8, 1.0])
    temperature = trial.suggest_categorical("T", [2, 4, 6, 8, 10])
    student = Link(net=SIX_CONV, fit=FIT, kd=KD(weight=alpha, temperature=temperature))
    return Pipeline(links=(Link(net=RESNET18, fit=TEACHER_FIT), student), data=Data(name="digits"))
