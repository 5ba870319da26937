"""Which of my students learns the most from my teacher, and from what: answers, hints, how much of each?

kdsearch init own                        writes my_nets.py: a teacher and a family of students, with comments
kdsearch tune own --data ./photos --teacher my_nets.py:teacher --teacher-weights best.safetensors \\
                  --student my_nets.py:student

The teacher is taken as it is, and sees at its own size; the student's knobs are those that its function draws. A hint
joins equal parts of both depths, `1/3` the layers at a third of each; a network without maps teaches by answers alone.
"""

import optuna

from kdsearch.config import KD, Budget, Data, Fit, Hints, Link, Pair, Pipeline

BUDGET = Budget(trials=24, epochs=12, teacher_epochs=12, batch_size=32)
FULL_BUDGET = Budget(trials=48, epochs=24, teacher_epochs=12, batch_size=32)

REFERENCE = "middle"
FIT = Fit(batch_size=None, schedule="cosine", learning_rate=2e-3)
HINTS = {"none": (), "1/3": ("1/3",), "2/3": ("2/3",), "1/3+2/3": ("1/3", "2/3"), "all": ("1/3", "2/3", "1/1")}


def space(trial: optuna.Trial, teacher, student) -> Pipeline:
    net = student(trial)
    hint = trial.suggest_categorical("hint", list(HINTS)) if teacher.layers and net.layers else "none"
    pairs = tuple(Pair(hint=part, guided=part) for part in HINTS[hint])
    label_share = trial.suggest_float("lambda", 0.0, 1.0)
    temperature = trial.suggest_float("tau", 1.0, 20.0, log=True)
    return Pipeline(
        links=(
            Link(net=teacher, fit=FIT),
            Link(
                net=net,
                fit=FIT,
                hints=Hints(pairs=pairs, share=0.25, regressor="conv1x1") if pairs else None,
                kd=KD(weight=1 - label_share, temperature=temperature),
            ),
        ),
        data=Data(name="digits"),
    )
