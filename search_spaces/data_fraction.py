"""How much does a teacher help when the student sees only a part of the data?

kdsearch tune data_fraction                           14 cells, about a minute on two CPU cores (digits)
kdsearch tune data_fraction --seeds 3 --data cifar10  42 students of 50 epochs, for several GPUs

Seed 2, experiment 3: ResNet-18, which saw all images, teaches the student of six convolutions with 5 % to 100 % of
them, α = 0.6, T = 8. There a fraction was the first images of the file, and fewer images meant fewer steps; here
fractions are stratified and nested, and every cell takes as many steps, so that only the data differ.
"""

import optuna

from kdsearch.config import KD, Budget, Data, Fit, Link, Pipeline
from kdsearch.papers import RESNET18, SIX_CONV

BUDGET = Budget(epochs=8, teacher_epochs=6, batch_size=32, sampler="grid")
FULL_BUDGET = Budget(epochs=50, teacher_epochs=90, batch_size=64, sampler="grid")
REFERENCE = None  # labels and KD are cells

TEACHER_FIT = Fit(
    batch_size=None, optimizer="sgd", learning_rate=0.1, momentum=0.9, weight_decay=2e-4, schedule="cosine"
)


def space(trial: optuna.Trial) -> Pipeline:
    fraction = trial.suggest_categorical("fraction", [0.05, 0.1, 0.15, 0.25, 0.5, 0.75, 1.0])
    taught = trial.suggest_categorical("taught", ["labels", "KD"])
    student = Link(
        net=SIX_CONV,
        fit=Fit(batch_size=None, schedule="cosine", fraction=fraction),
        kd=KD(weight=0.6, temperature=8.0) if taught == "KD" else None,
    )
    return Pipeline(links=(Link(net=RESNET18, fit=TEACHER_FIT), student), data=Data(name="digits"))
