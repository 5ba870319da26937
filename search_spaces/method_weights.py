"""Which way to distil, with which weight, for this pair?

kdsearch tune method_weights                 44 trials, about 3 minutes on two CPU cores (digits)
kdsearch tune method_weights --data cifar10  220 trials of 30 epochs, for several GPUs

The pair of `methods`, each method's weight free over four decades around its published one, which is drawn first;
DKD's β is free as its authors varied it; all methods that soften share one temperature. One size, so nobody is stopped.
44 draws are four a method: enough to see a weight that is wrong by decades, not to rank methods, which `methods` does.
"""

import optuna

from kdsearch.config import AT, DML, FSP, KD, PKT, RKD, SP, Budget, Data, Fit, Link, Pipeline, ResNet
from kdsearch.papers import TEMPERATURES, WEIGHTS

BUDGET = Budget(trials=44, epochs=10, teacher_epochs=10, batch_size=32, rule="none")
FULL_BUDGET = Budget(trials=220, epochs=30, teacher_epochs=60, rule="none")

TEACHER = ResNet(kind="resnet", widths=(16, 32, 64), blocks=2)
REFERENCE = ResNet(kind="resnet", widths=(16, 32, 64), blocks=1)
FIT = Fit(batch_size=None, optimizer="sgd", learning_rate=0.1, momentum=0.9, weight_decay=5e-4, schedule="cosine")

BETA = 8.0
PUBLISHED = tuple(
    {"method": method, f"{method} weight": weight}
    | ({"tau": TEMPERATURES[method]} if method in TEMPERATURES else {})
    | ({"DKD beta": BETA} if method == "DKD" else {})
    for method, weight in WEIGHTS.items()
)
FORMS = {
    "KD": KD(labels=0.1), "DKD": KD(form="dkd", labels=1), "DIST": KD(form="dist", labels=1),
    "standardised KD": KD(standardise=True, labels=0.1),
}  # fmt: skip
TERMS = {
    "AT": AT(), "SP": SP(), "RKD-D": RKD(form="distances"), "RKD-A": RKD(form="angles"), "PKT": PKT(), "FSP": FSP(),
}  # fmt: skip


def space(trial: optuna.Trial) -> Pipeline:
    method = trial.suggest_categorical("method", list(WEIGHTS))
    usual = WEIGHTS[method]
    told: dict = {"weight": trial.suggest_float(f"{method} weight", usual / 100, usual * 100, log=True)}
    if method in TEMPERATURES:
        told["temperature"] = trial.suggest_float("tau", 1.0, 20.0, log=True)
    if method == "DKD":
        told["beta"] = trial.suggest_float("DKD beta", 0.5, 16.0, log=True)
    more: dict = {}
    if method in FORMS:
        more["kd"] = FORMS[method].model_copy(update=told)
    elif method in TERMS:
        more["terms"] = (TERMS[method].model_copy(update=told),)
    else:
        more["companions"] = DML(**told)
    return Pipeline(links=(Link(net=TEACHER, fit=FIT), Link(net=REFERENCE, fit=FIT, **more)), data=Data(name="digits"))
