"""Which knobs matter when all of them are free: shape, hints, method, softening, assistant, amount of data?

kdsearch tune everything                 40 trials, about 2 minutes on two CPU cores (digits)
kdsearch tune everything --data cifar10  200 trials of 30 epochs, for several GPUs

An assistant, where there is one, stands between teacher and student in size (Mirzadeh et al. 2020), has a recipe of
its own that is never drawn, and then gives the hints. Every network has three blocks, so every pair is valid. A method
is a form of the softened answers, or a further term beside them with its published weight.
"""

import optuna

from kdsearch.config import AT, KD, PKT, RKD, SP, Budget, Data, Fit, Hints, Link, Net, Pair, Pipeline

BUDGET = Budget(trials=40, epochs=12, teacher_epochs=12, batch_size=32)
FULL_BUDGET = Budget(trials=200, epochs=30, teacher_epochs=30)

TEACHER = Net(widths=(128, 356, 356), depth=3, hidden=512, batch_norm=True)
REFERENCE = Net(depth=6, batch_norm=True)
ASSISTANTS = {
    "none": None,
    "small": Net(depth=6, width=1.5, batch_norm=True),
    "middle": Net(depth=6, width=2.5, batch_norm=True),
    "large": Net(depth=6, width=4.0, batch_norm=True),
}
FORMS = {"KD": {}, "DKD": {"form": "dkd"}, "DIST": {"form": "dist"}, "standardised KD": {"standardise": True}}
TERMS = {"AT": AT(), "SP": SP(), "RKD": RKD(), "PKT": PKT()}
FIT = Fit(batch_size=None, schedule="cosine", learning_rate=2e-3)


def space(trial: optuna.Trial) -> Pipeline:
    assistant = ASSISTANTS[trial.suggest_categorical("assistant", list(ASSISTANTS))]
    student = Net(
        depth=trial.suggest_int("depth", 3, 12, step=3),
        width=trial.suggest_float("width", 0.25, 1.5, step=0.25),
        batch_norm=True,
    )
    label_share = trial.suggest_float("lambda", 0.0, 1.0)
    temperature = trial.suggest_float("tau", 1.0, 20.0, log=True)
    method = trial.suggest_categorical("method", [*FORMS, *TERMS])
    kd = KD(weight=1 - label_share, temperature=temperature, **FORMS.get(method, {}))
    fraction = trial.suggest_categorical("fraction", [0.1, 0.25, 0.5, 0.75, 1.0])
    chain = (Link(net=TEACHER, fit=FIT), *([Link(net=assistant, kd=KD(), fit=FIT)] if assistant else []))
    hinting = assistant or TEACHER
    return Pipeline(
        links=(
            *chain,
            Link(
                net=student,
                hints=hints(trial, hinting, student),
                kd=kd,
                terms=(TERMS[method],) if method in TERMS else (),
                fit=FIT.model_copy(update={"fraction": fraction}),
            ),
        ),
        data=Data(name="digits"),
    )


def hints(trial: optuna.Trial, teacher: Net, student: Net) -> Hints | None:
    count = trial.suggest_int("hints", 0, 3)
    if not count:
        return None
    # One hint: any block. Two: all but one. Three: all.
    chosen = trial.suggest_int("block", 1, 3) if count < 3 else 0
    blocks = {1: [chosen], 2: [block for block in (1, 2, 3) if block != chosen], 3: [1, 2, 3]}[count]
    kernel = trial.suggest_categorical("regressor", ["conv1x1", "conv3x3"])
    return Hints(
        pairs=tuple(Pair(hint=teacher.block_end(block), guided=student.block_end(block)) for block in blocks),
        regressor="conv3x3" if kernel == "conv3x3" else "conv1x1",
        share=trial.suggest_float("hint_share", 0.1, 0.7),
    )
