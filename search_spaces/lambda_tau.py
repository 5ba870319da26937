"""What do the labels' share and the temperature do together: is there a ridge, a plateau, a cliff?

kdsearch tune lambda_tau                 40 trials, about 2 minutes on two CPU cores (digits)
kdsearch tune lambda_tau --data cifar10  96 trials of 20 epochs, for a GPU

A continuous search over λ and τ for seed 1's teacher and its student of nine convolutions, batch-normalised, without
hints. One size, so nobody is stopped: a landscape is drawn from trials that had the same epochs.
"""

import optuna

from kdsearch.config import KD, Budget, Data, Fit, Link, Pipeline
from kdsearch.papers import HINTING, STUDENTS

BUDGET = Budget(trials=40, epochs=12, teacher_epochs=12, batch_size=32, rule="none")
FULL_BUDGET = Budget(trials=96, epochs=20, teacher_epochs=15, rule="none")
REFERENCE = STUDENTS[9].model_copy(update={"batch_norm": True})

TEACHER = HINTING.model_copy(update={"batch_norm": True})
FIT = Fit(batch_size=None, schedule="cosine", learning_rate=2e-3)


def space(trial: optuna.Trial) -> Pipeline:
    label_share = trial.suggest_float("lambda", 0.0, 1.0)
    temperature = trial.suggest_float("tau", 1.0, 20.0, log=True)
    kd = KD(weight=1 - label_share, temperature=temperature)
    return Pipeline(links=(Link(net=TEACHER, fit=FIT), Link(net=REFERENCE, fit=FIT, kd=kd)), data=Data(name="digits"))
