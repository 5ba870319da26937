"""What buys more accuracy per parameter: a deeper student, or a better hint?

kdsearch tune depth_vs_hint                 24 trials, about a minute on two CPU cores (digits)
kdsearch tune depth_vs_hint --data cifar10  96 trials of 30 epochs, for a GPU

Seed 1's teacher and students (3, 6, 9 or 12 convolutions in three blocks) with batch normalisation, without which the
deep ones need many more epochs to start learning. A hint joins the ends of equal blocks, so every pair is valid.
"""

import optuna

from kdsearch.config import KD, Budget, Data, Fit, Hints, Link, Net, Pair, Pipeline

BUDGET = Budget(trials=24, epochs=27, teacher_epochs=12, batch_size=32)
FULL_BUDGET = Budget(trials=96, epochs=30, teacher_epochs=30)

TEACHER = Net(widths=(128, 356, 356), depth=3, hidden=512, batch_norm=True)
REFERENCE = Net(depth=6, batch_norm=True)
PUBLISHED = ({"depth": 9, "width": 1.0, "hint": "2", "lambda": 0.75, "tau": 2.0},)  # seed 1, table 1
FIT = Fit(batch_size=None, schedule="cosine", learning_rate=2e-3)


def space(trial: optuna.Trial) -> Pipeline:
    depth = trial.suggest_int("depth", 3, 12, step=3)
    width = trial.suggest_float("width", 0.125, 1.5, log=True)
    student = Net(depth=depth, width=width, batch_norm=True)

    hinted = trial.suggest_categorical("hint", ["none", "1", "2", "3", "1+2", "2+3", "1+3", "1+2+3"])
    blocks = [int(block) for block in hinted.split("+") if block != "none"]
    pairs = tuple(Pair(hint=TEACHER.block_end(block), guided=student.block_end(block)) for block in blocks)

    label_share = trial.suggest_float("lambda", 0.0, 1.0)
    temperature = trial.suggest_float("tau", 1.0, 20.0, log=True)
    return Pipeline(
        links=(
            Link(net=TEACHER, fit=FIT),
            Link(
                net=student,
                fit=FIT,
                hints=Hints(pairs=pairs, share=0.2) if pairs else None,
                kd=KD(weight=1 - label_share, temperature=temperature),
            ),
        ),
        data=Data(name="digits"),
    )
