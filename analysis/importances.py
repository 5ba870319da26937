"""Which knobs decide whether a trial reaches the front?

Optuna's conditional PED-ANOVA for accuracy and compression (or what it is set against) together: how much a knob's
values among the trials of the front differ from its values among all trials that ended, as a share of all knobs'
differences. Fully trained trials can be on the front; stopped ones count as trials that did not reach it, failed ones
not at all. The bar is the median over bootstrap samples of the trials, the line spans their middle 90 %: where lines
overlap, the search has not settled which of the two knobs matters more.
"""

import math
import warnings

import altair as alt
import numpy as np
import optuna
import pandas as pd
from optuna.distributions import json_to_distribution

from kdsearch.results import front
from kdsearch.results.facts import Facts
from kdsearch.results.tables import Tables

from . import frames

SAMPLES = 40
LEAST = 8
"""Ended trials below which importances are noise."""
NEVER = (-1.0, -1000.0)
"""Accuracy and log10 of compression of a stopped trial: behind every one that was fully trained."""


def chart(tables: Tables, facts: Facts) -> alt.LayerChart | alt.Chart:
    """A bar a knob, with its uncertainty."""
    frame = importances(tables, facts)
    if frame.empty:
        return frames.sentence(f"Importances need a front, and {LEAST} trials that have ended.")
    base = alt.Chart(frame).encode(
        alt.Y("knob:N", title=None, sort=list(frame.sort_values("median", ascending=False)["knob"]))
    )
    bars = base.mark_bar(color="#7fa6cf").encode(
        alt.X("median:Q", title="share").axis(format="%").scale(domainMin=0),
        tooltip=["knob:N", *(alt.Tooltip(f"{name}:Q", format=".0%") for name in ("median", "low", "high"))],
    )
    lines = base.mark_rule(strokeWidth=2, color="#20262d").encode(x="low:Q", x2="high:Q")
    return alt.layer(bars, lines).properties(width=440, title="Importances for reaching the front")


def importances(tables: Tables, facts: Facts) -> pd.DataFrame:
    """Columns knob, low, median, high: percentiles 5, 50, 95 over bootstrap samples; empty for too few trials."""
    ranges = {name: json_to_distribution(text) for name, text in facts.knobs.items()}
    drawn = [row for row in tables.trials.values() if row["reference"] is None]
    done = [row for row in drawn if row["state"] in ("complete", "stopped")]
    columns = ["knob", "low", "median", "high"]
    if len(done) < LEAST or not ranges or not front.members(done):
        return pd.DataFrame([], columns=columns)
    trials = [_as_optuna(row, ranges) for row in done]
    generator = np.random.default_rng(0)
    shares = [
        _shares([trials[place] for place in generator.integers(len(trials), size=len(trials))]) for _ in range(SAMPLES)
    ]
    rows = []
    for name in ranges:
        values = [share.get(name, 0.0) for share in shares]
        rows.append(dict(zip(columns, (name, *np.percentile(values, (5, 50, 95))), strict=True)))
    return pd.DataFrame(rows, columns=columns)


def _as_optuna(row: dict, ranges: dict) -> optuna.trial.FrozenTrial:
    knobs = {name: row[f"knob.{name}"] for name in ranges if row.get(f"knob.{name}") is not None}
    values = NEVER
    if row["state"] == "complete":
        values = (row["accuracy"], math.log10(front.ratio(row)))
    return optuna.trial.create_trial(params=knobs, distributions={name: ranges[name] for name in knobs}, values=values)


def _shares(trials: list[optuna.trial.FrozenTrial]) -> dict[str, float]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["maximize", "maximize"])
    study.add_trials(trials)
    # Optuna's target is a share of the trials; this one is the front of the sample, whole and nothing else.
    points = [(trial.values[1], trial.values[0]) for trial in trials]
    best = {points[place] for place in front.undominated(points)}
    share = (sum(point in best for point in points) - 0.5) / len(points)
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=share)
    with warnings.catch_warnings():
        # Too few trials with a conditional knob show in the interval.
        warnings.simplefilter("ignore", UserWarning)
        return optuna.importance.get_param_importances(study, evaluator=evaluator)
