"""What do the labels' share and the temperature do together: is there a ridge, a plateau, a cliff?

Dots are fully trained trials; the surface under them is what a Gaussian process makes of their accuracies: smooth over
λ and log τ, with noise of its own for what one seed adds by chance. It is dotted where trials are too far away to say
much. A dot that differs from the surface around it was lucky, or not. Where the surface spans no more than the noise
between trials (both under the picture), there is no landscape to see. The hollow diamond is the paper's choice.
"""

import math
import warnings
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from kdsearch.results.facts import Facts
from kdsearch.results.tables import Tables

from . import captions, frames, intervals

LEAST = 8
"""Trials below which a surface would be made up."""
STEPS = 32
"""Of the surface, along each axis."""
RANGE = ["#f4f1e8", "#9fc3b8", "#2f7f86", "#123a56"]
SURE = 0.5
"""Standard deviations of the surface above so many of the accuracies' own are marked."""
PRINTED = {"lambda": 0.75, "tau": 2.0}
"""Where the paper on hints trained all its students."""


def chart(tables: Tables, facts: Facts) -> Any:
    """The surface, the trials on it, the paper's point."""
    trials = points(tables)
    if len(trials) < LEAST:
        return frames.sentence(f"A landscape needs {LEAST} fully trained trials with λ and τ; here are {len(trials)}.")
    surface, noise = landscape(trials)
    table = captions.of_data(facts, "seed1-table1", "seed1-table2")
    published = captions.frame(table, {"KD": "KD"}).assign(**PRINTED)
    published["text"] = [f"{100 * value:.2f} % printed" for value in published["accuracy"]]
    sure = SURE * float(np.std(trials["accuracy"].to_numpy(float)))
    layers = alt.layer(*_surface(surface, sure), *_dots(trials), *_printed(published))
    top = surface.loc[surface["accuracy"].idxmax()]
    span = surface["accuracy"].max() - surface["accuracy"].min()
    best = (
        f"The surface is highest at λ = {top['lambda']:.2f}, τ = {top['tau']:.1f}: {100 * top['accuracy']:.1f} %, with "
        f"a standard deviation of {100 * top['error']:.1f} points."
    )
    if span <= noise:
        best = "There is no landscape to see: no λ or τ is better than another beyond the noise."
    lines = [
        f"Dots: here, {captions.made(facts)}, {len(trials)} fully trained trials{captions.epochs(facts, 'each')}, one "
        f"seed each. {best}",
        f"It spans {100 * span:.1f} points; the noise between trials has a standard deviation of {100 * noise:.1f}. "
        f"Where it is dotted, few trials are near: the surface itself is uncertain by over {100 * sure:.1f} points.",
        f"Diamond: printed ({table}, row KD): {captions.TITLES[captions.dataset(table)]} test images, one run.",
    ]
    return captions.under([layers.properties(width=560, height=380, title="Landscape of λ and τ")], lines)


def points(tables: Tables) -> pd.DataFrame:
    """Fully trained draws that have both knobs, with accuracy."""
    rows = [
        {"trial": row["trial"], "lambda": row["knob.lambda"], "tau": row["knob.tau"], "accuracy": row["accuracy"]}
        for row in tables.trials.values()
        if row["state"] == "complete" and row["reference"] is None
        and row.get("knob.lambda") is not None and row.get("knob.tau") is not None
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["trial", "lambda", "tau", "accuracy"])


def landscape(trials: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """A row a square of the surface (middle, edges, accuracy, error), and the noise between trials."""
    accuracies = trials["accuracy"].to_numpy(float)
    high = max(float(np.max(trials["tau"].to_numpy(float))), 20.0)
    lengths: Any = [0.4, 0.4]
    kernel: Any = ConstantKernel() * RBF(lengths, (0.1, 5.0)) + WhiteKernel(0.3, (1e-3, 10.0))
    process: Any = GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=3, random_state=0)
    with warnings.catch_warnings():
        # A length scale at its bound is a knob that does nothing, and no failure.
        warnings.simplefilter("ignore", ConvergenceWarning)
        process.fit(_scaled(trials, high), accuracies)
    middles = (np.arange(STEPS) + 0.5) / STEPS
    across, up = (grid.ravel() for grid in np.meshgrid(middles, middles))
    mean, deviation = process.predict(np.column_stack([across, up]), return_std=True)
    spread = float(np.std(accuracies)) or 1.0
    noise = math.sqrt(process.kernel_.k2.noise_level) * spread
    # Beside the noise, which says nothing of the surface.
    error = np.sqrt(np.maximum(deviation**2 - noise**2, 0))
    half = 0.5 / STEPS
    surface = pd.DataFrame(
        {
            "lambda": across, "tau": high**up, "accuracy": mean, "error": error,
            # They overlap a little, else hairlines show between them.
            "left": across - half, "right": np.minimum(across + 1.4 * half, 1),
            "low": high ** (up - half), "high": high ** np.minimum(up + 1.4 * half, 1),
        }
    )  # fmt: skip
    return surface, noise


def _scaled(trials: pd.DataFrame, high: float) -> np.ndarray:
    """λ and log τ, both 0–1."""
    return np.column_stack([trials["lambda"], np.log(trials["tau"]) / math.log(high)])


def _surface(surface: pd.DataFrame, sure: float) -> list[alt.Chart]:
    """Layers: the squares, and dots where they are uncertain."""
    base = alt.Chart(surface.round(5))
    squares = base.mark_rect().encode(
        alt.X("left:Q", title="λ: the labels' share").scale(domain=[0, 1], nice=False).axis(grid=False),
        alt.X2("right:Q"),
        alt.Y("low:Q", title="τ").scale(type="log", nice=False).axis(values=[1, 2, 3, 5, 7, 10, 15, 20], grid=False),
        alt.Y2("high:Q"),
        _colour(),
        tooltip=[
            alt.Tooltip("accuracy:Q", format=".2%"),
            alt.Tooltip("error:Q", title="standard deviation", format=".2%"),
        ],
    )
    doubt = alt.Chart(surface[surface["error"] > sure].round(5)).mark_circle(size=5, color="#20262d", opacity=0.55)
    return [squares, doubt.encode(alt.X("lambda:Q"), alt.Y("tau:Q"))]


def _colour() -> alt.Color:
    return alt.Color("accuracy:Q", title="accuracy").scale(range=RANGE, zero=False).legend(format=".2~%")


def _dots(trials: pd.DataFrame) -> list[alt.Chart]:
    base = alt.Chart(trials).encode(alt.X("lambda:Q"), alt.Y("tau:Q"))
    tips = ["trial:N", alt.Tooltip("accuracy:Q", format=".2%"), "lambda:Q", "tau:Q"]
    dots = base.mark_circle(size=90, stroke="white", strokeWidth=1.5, opacity=1).encode(_colour(), tooltip=tips)
    return [frames.ring(base), dots.add_params(frames.PICKED)]


def _printed(published: pd.DataFrame) -> list[alt.Chart]:
    base = alt.Chart(published).encode(alt.X("lambda:Q"), alt.Y("tau:Q"))
    mark = base.mark_point(shape="diamond", size=260, color=intervals.BLACK, strokeWidth=2.5, opacity=1, filled=False)
    tips = [alt.Tooltip("accuracy:Q", title="printed", format=".2%"), "table:N", "note:N"]
    words = {"dx": 16, "dy": -14, "align": "left", "fontSize": 11, "fontWeight": "bold"}
    halo = base.mark_text(**words, stroke="white", strokeWidth=3, strokeJoin="round").encode(text="text:N")
    return [mark.encode(tooltip=tips), halo, base.mark_text(**words).encode(text="text:N")]
