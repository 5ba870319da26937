"""Which assistant should stand between a large teacher and a small student, if any?

kdsearch tune assistant_size --seeds 3                 6 cells × 3 seeds, 1–2 minutes on two CPU cores (digits)
kdsearch tune assistant_size --seeds 3 --data cifar10  18 students of 100 epochs and their assistants, for several GPUs

Seed 2, experiment 6, table 3, figures 4 and 5, after Mirzadeh et al. 2020: a teacher of ten convolutions, a student of
two, an assistant of 4, 6 or 8, or all three in turn. There every arm had its own optimiser, α, T and number of epochs;
here all links have the same, α = 0.4, T = 4. An assistant is trained once and teaches all seeds.

Found on CIFAR-10 at a size for two cores (1,800 training, 1,200 validation images, 12 epochs, batches of 32, 3 seeds):
6 49.7 ± 1.5 %, 4 49.5 ± 1.9, 8→6→4 49.2 ± 3.0, none 48.5 ± 1.9, 8 48.0 ± 1.9, labels 46.9 ± 3.0, under a teacher of
40.8: an assistant of 4 or 6 cannot be told from none; labels alone are behind 6 beyond noise.
"""

import optuna

from kdsearch.config import KD, Budget, Data, Fit, Link, Pipeline
from kdsearch.papers import CHAIN

BUDGET = Budget(epochs=15, teacher_epochs=15, batch_size=32, sampler="grid")
FULL_BUDGET = Budget(epochs=100, teacher_epochs=100, batch_size=64, sampler="grid")
REFERENCE = None  # labels and KD without an assistant are cells

ASSISTANTS = {"labels": (), "none": (), "4": (4,), "6": (6,), "8": (8,), "8→6→4": (8, 6, 4)}
"""By their convolutions."""
FIT = Fit(batch_size=None, schedule="cosine")


def space(trial: optuna.Trial) -> Pipeline:
    assistant = trial.suggest_categorical("assistant", list(ASSISTANTS))
    kd = KD(weight=0.4, temperature=4.0)
    between = [Link(net=CHAIN[depth], fit=FIT, kd=kd) for depth in ASSISTANTS[assistant]]
    student = Link(net=CHAIN[2], fit=FIT, kd=None if assistant == "labels" else kd)
    return Pipeline(links=(Link(net=CHAIN[10], fit=FIT), *between, student), data=Data(name="digits"))
