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

from kdsearch.config import (
    AT,
    BSS,
    BYOT,
    DML,
    KD,
    ONE,
    PKT,
    RKD,
    SP,
    Budget,
    Data,
    Fit,
    Hints,
    Link,
    Pair,
    Pipeline,
    Ramp,
    ResNet,
)  # fmt: skip

BUDGET = Budget(epochs=10, teacher_epochs=10, batch_size=32, sampler="grid")
FULL_BUDGET = Budget(epochs=200, teacher_epochs=200, sampler="grid")
REFERENCE = None  # labels are a cell

TEACHER = ResNet(kind="resnet", widths=(16, 32, 64), blocks=2)
STUDENT = ResNet(kind="resnet", widths=(16, 32, 64), blocks=1)
SOFT = KD(weight=0.9)
MIDDLE = (Pair(hint=TEACHER.middle, guided=STUDENT.middle),)
STAGES = tuple(Pair(hint=one, guided=own) for one, own in zip((1, *TEACHER.ends), (1, *STUDENT.ends), strict=True))
BOUNDARY = KD(weight=Ramp(start=4, end=1), temperature=3, squared=False, labels=1)

METHODS = {
    "labels": {},
    "KD": {"kd": SOFT},
    "BSS": {"kd": BOUNDARY, "terms": (BSS(),)},
    "FitNet": {"hints": Hints(pairs=MIDDLE, share=0.2, regressor="conv1x1"), "kd": SOFT},
    "FSP": {"hints": Hints(pairs=STAGES, share=0.2, match="flow"), "kd": SOFT},
    "AT": {"terms": (AT(),)},
    "SP": {"terms": (SP(),)},
    "RKD-D": {"terms": (RKD(form="distances"),)},
    "RKD-A": {"terms": (RKD(form="angles"),)},
    "RKD-DA": {"terms": (RKD(form="distances"), RKD(form="angles"))},
    "PKT": {"terms": (PKT(),)},
    "DKD": {"kd": KD(form="dkd", weight=Ramp(start=0, end=1, over=20 / 240), labels=1)},
    "DIST": {"kd": KD(form="dist", weight=2, labels=1)},
    "standardised KD": {"kd": KD(weight=9, labels=0.1, temperature=2, standardise=True)},
    "DML": {"companions": DML()},
    "ONE": {"companions": ONE()},
    "BYOT": {"companions": BYOT()},
}  # fmt: skip
FIT = Fit(batch_size=None, optimizer="sgd", learning_rate=0.1, momentum=0.9, weight_decay=5e-4, schedule="cosine")


def space(trial: optuna.Trial) -> Pipeline:
    method = METHODS[trial.suggest_categorical("method", list(METHODS))]
    return Pipeline(links=(Link(net=TEACHER, fit=FIT), Link(net=STUDENT, fit=FIT, **method)), data=Data(name="digits"))
