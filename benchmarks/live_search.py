"""What early stopping saves in a live search, and what it loses: pairs of searches that draw the same pipelines.

python benchmarks/live_search.py

Each pair has a seed, random draws, one search that stops trials by the default rule and one that stops none. Prints
each pair's share of student epochs (references apart) and of hypervolume, their medians, and ends with one JSON line.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table


def searched(folder: Path, seed: int, rule: str, told: argparse.Namespace) -> tuple[int, float]:
    """A search as a user runs it: its draws' epochs, its front's hypervolume."""
    name, kdsearch = f"{rule}-{seed}", [sys.executable, "-m", "kdsearch.cli"]
    words = ["tune", told.space, "--sampler", "random", "--rule", rule, "--trials", told.trials, "--seed", seed]
    words += ["--name", name, *told.more]
    done = subprocess.run([*kdsearch, *map(str, words)], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    status = subprocess.run([*kdsearch, "status", name, "--json"], cwd=folder, capture_output=True, check=True)
    from kdsearch.results import tables

    rows = tables.read(folder / "results" / name).trials.values()
    return sum(row["epochs"] for row in rows if not row["reference"]), json.loads(status.stdout)["hypervolume"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--space", default="depth_vs_hint")
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rule", default="union")
    parser.add_argument("more", nargs="*", help="options of kdsearch tune for both, after --")
    told = parser.parse_args()
    console, shares = Console(), []
    table = Table(title=f"{told.rule} against none, {told.trials} trials of {told.space}")
    for name in ("seed", "epochs", "epochs, none", "share", "hypervolume", "hypervolume, none", "share"):
        table.add_column(name, justify="right")
    with tempfile.TemporaryDirectory() as where:
        for seed in range(told.seeds):
            with console.status(f"seed {seed} of {told.seeds}"):
                # Who goes first alternates, so that no rule has the warmer machine.
                order = [told.rule, "none"] if seed % 2 else ["none", told.rule]
                found = {rule: searched(Path(where), seed, rule, told) for rule in order}
            (epochs, area), (all_epochs, whole) = found[told.rule], found["none"]
            if not whole:
                raise SystemExit(f"Seed {seed}: without stopping, no trial is above chance: give them more epochs.")
            shares.append((epochs / all_epochs, area / whole))
            table.add_row(
                str(seed), f"{epochs:,}", f"{all_epochs:,}", f"{shares[-1][0]:.3f}", f"{area:.4f}", f"{whole:.4f}",
                f"{shares[-1][1]:.4f}",
            )  # fmt: skip
            print(f"seed {seed}: {shares[-1][0]:.3f} of the epochs, {shares[-1][1]:.4f} of the hypervolume", flush=True)
    console.print(table)
    spent, kept = (statistics.median(share[place] for share in shares) for place in (0, 1))
    told_all = {"epochs": [round(one, 4) for one, _ in shares], "hypervolume": [round(two, 5) for _, two in shares]}
    print(json.dumps({"median_epochs": round(spent, 4), "median_hypervolume": round(kept, 5), **told_all}))


if __name__ == "__main__":
    main()
