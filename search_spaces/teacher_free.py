"""Is a better network needed at all to teach: what do a student's own twin, or a teacher made by hand, do?

kdsearch tune teacher_free --seeds 3                 6 cells × 3 seeds, about a minute on two CPU cores (digits)
kdsearch tune teacher_free --seeds 3 --data cifar10  18 students of 50 epochs, for several GPUs

Seed 2, experiment 4: the student of six convolutions, trained with labels, teaches one of its kind. Beside it the
virtual teacher of Yuan et al. 2020 (section 4), which gives the true class 0.99 (or 0.9) and all others the same:
softened, it is a form of label smoothing and knows nothing of the image. Compression is 1 in every cell.
"""

import optuna

from kdsearch.config import KD, Budget, Data, Fit, Link, Pipeline
from kdsearch.papers import SIX_CONV

BUDGET = Budget(epochs=10, teacher_epochs=10, batch_size=32, sampler="grid")
FULL_BUDGET = Budget(epochs=50, teacher_epochs=50, batch_size=64, sampler="grid")
REFERENCE = None  # labels are a cell

TEACHERS = {
    "labels": None,
    "itself, T 2": KD(weight=0.4, temperature=2.0),
    "itself, T 4": KD(weight=0.4, temperature=4.0),
    "itself, T 10": KD(weight=0.4, temperature=10.0),
    "virtual, 0.99": KD(weight=0.4, temperature=20.0, virtual=0.99),
    "virtual, 0.9": KD(weight=0.4, temperature=1.0, virtual=0.9),
}
FIT = Fit(batch_size=None, schedule="cosine")


def space(trial: optuna.Trial) -> Pipeline:
    kd = TEACHERS[trial.suggest_categorical("teacher", list(TEACHERS))]
    return Pipeline(
        links=(Link(net=SIX_CONV, fit=FIT, seed=1), Link(net=SIX_CONV, fit=FIT, kd=kd)), data=Data(name="digits")
    )
