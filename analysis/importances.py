"""Which knobs decide whether a trial comes near the front?

Optuna's conditional PED-ANOVA for accuracy and compression together: each knob's share. The bar is the median over
bootstrap samples of the fully trained trials, the line spans their middle 90 %: where lines overlap, the search has
not settled which of the two knobs matters more.
"""

import warnings
from typing import Any

import altair as alt
import numpy as np
import optuna
import pandas as pd
from optuna.distributions import json_to_distribution

from kdsearch.results import Tables

SAMPLES = 40
LEAST = 8
"""Fully trained trials below which importances are noise."""


def chart(tables: Tables, facts: dict[str, Any]) -> alt.LayerChart | alt.Chart:
    """A bar a knob, with its uncertainty."""
    frame = importances(tables, facts)
    if frame.empty:
        said = pd.DataFrame({"text": [f"Importances need {LEAST} fully trained trials."]})
        return alt.Chart(said).mark_text(fontSize=13).encode(text="text:N").properties(width=440, height=60)
    base = alt.Chart(frame).encode(
        alt.Y("knob:N", title=None, sort=list(frame.sort_values("median", ascending=False)["knob"]))
    )
    bars = base.mark_bar(color="#7fa6cf").encode(
        alt.X("median:Q", title="share").axis(format="%").scale(domainMin=0),
        tooltip=["knob:N", *(alt.Tooltip(f"{name}:Q", format=".0%") for name in ("median", "low", "high"))],
    )
    lines = base.mark_rule(strokeWidth=2, color="#20262d").encode(x="low:Q", x2="high:Q")
    return alt.layer(bars, lines).properties(width=440, title="Importances for reaching the front")


def importances(tables: Tables, facts: dict[str, Any]) -> pd.DataFrame:
    """Columns knob, low, median, high: percentiles 5, 50, 95 over bootstrap samples; empty for too few trials."""
    ranges = {name: json_to_distribution(text) for name, text in facts.get("knobs", {}).items()}
    done = [row for row in tables.trials.values() if row["state"] == "complete" and row["reference"] is None]
    columns = ["knob", "low", "median", "high"]
    if len(done) < LEAST or not ranges:
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
    values = [row["accuracy"], float(np.log10(row["compression"]))]
    return optuna.trial.create_trial(params=knobs, distributions={name: ranges[name] for name in knobs}, values=values)


def _shares(trials: list[optuna.trial.FrozenTrial]) -> dict[str, float]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["maximize", "maximize"])
    study.add_trials(trials)
    with warnings.catch_warnings():
        # Too few trials with a conditional knob show in the interval.
        warnings.simplefilter("ignore", UserWarning)
        return optuna.importance.get_param_importances(study)
