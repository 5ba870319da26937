"""Which way to distil teaches one student the most, each by its published weight?

kdsearch tune methods --seeds 3                 17 cells × 3 seeds, about 4 minutes on two CPU cores (digits)
kdsearch tune methods --seeds 3 --data cifar10  51 students of 200 epochs, for several GPUs

ResNet-14 teaches ResNet-8: both have stages of 16, 32 and 64 channels, as in seed 3, so that flows and maps compare.
Weights are those of the tables' authors and fit no pair in particular: the shares of the gradient beside the answers
tell how differently they come out (`method_weights` searches over them). FitNet and FSP spend a fifth of the epochs on
a first stage; AT, SP, RKD and PKT stand beside labels alone. Costs differ: DML trains two networks, ONE three branches,
BYOT two exits, BSS asks the teacher live; all of them have the same epochs.
"""

import optuna

from kdsearch.config import Budget, Data, Fit, Link, Pipeline, ResNet
from kdsearch.papers import METHODS

BUDGET = Budget(epochs=10, teacher_epochs=10, batch_size=32, sampler="grid")
FULL_BUDGET = Budget(epochs=200, teacher_epochs=200, sampler="grid")
REFERENCE = None  # labels are a cell

TEACHER = ResNet(kind="resnet", widths=(16, 32, 64), blocks=2)
STUDENT = ResNet(kind="resnet", widths=(16, 32, 64), blocks=1)
FIT = Fit(batch_size=None, optimizer="sgd", learning_rate=0.1, momentum=0.9, weight_decay=5e-4, schedule="cosine")


def space(trial: optuna.Trial) -> Pipeline:
    name = trial.suggest_categorical("method", ["labels", *METHODS])
    method = METHODS[name].link(TEACHER, STUDENT) if name in METHODS else {}
    return Pipeline(links=(Link(net=TEACHER, fit=FIT), Link(net=STUDENT, fit=FIT, **method)), data=Data(name="digits"))
