"""A search from Python: its tables as they stand, also while it runs; its charts; what is made of it."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Console

from kdsearch.cluster.own import own_ray
from kdsearch.errors import nobody, unknown
from kdsearch.results import files, folder, front, searches, show
from kdsearch.results import seeds as results_seeds
from kdsearch.results import tables as results_tables
from kdsearch.results.facts import Facts, read_facts
from kdsearch.results.objectives import objective
from kdsearch.search.progress import Steps
from kdsearch.storage.bucket import Storage, at, usual

if TYPE_CHECKING:
    from kdsearch.search.deployed import Deployed


class Search:
    """One run of a space, found by its name in `results` or by its path. Raises Refusal where there is none."""

    def __init__(self, name: str | Path, results: str | Path | None = None) -> None:
        self._results = usual() if results is None else str(results)
        self._name, self._storage = str(name), searches.reading(self._results)
        self.folder = searches.find(self._name, self._storage)
        """Where its files are; of a search in a bucket, a copy of its tables."""

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.folder.name

    @property
    def trials(self) -> pd.DataFrame:
        """A row a trial: the columns of trials.parquet."""
        return _frame(self._tables().trials.values(), files.TRIALS.names)

    @property
    def epochs(self) -> pd.DataFrame:
        """A row an epoch: the columns of epochs.parquet."""
        return _frame(self._tables().epochs, files.EPOCHS.names)

    @property
    def verdicts(self) -> pd.DataFrame:
        """A row a judgement at a milestone: the columns of verdicts.parquet."""
        return _frame(self._tables().verdicts, files.VERDICTS.names)

    @property
    def front(self) -> pd.DataFrame:
        """The rows of `trials` on the Pareto front, from the most accurate to the smallest."""
        trials = self._tables().trials
        return _frame([trials[name] for name in front.members(trials.values())], files.TRIALS.names)

    @property
    def references(self) -> pd.DataFrame:
        """The rows of `trials` that stand beside the search: labels, kd, hint+kd."""
        rows = self._tables().trials.values()
        return _frame([row for row in rows if row["reference"]], files.TRIALS.names)

    @property
    def facts(self) -> Facts:
        """What search.json holds: what was asked for, images, versions."""
        return read_facts(self.folder)

    @property
    def state(self) -> str:
        """running, finished or interrupted."""
        return searches.standing(self._storage, self._tables(), self.facts)["state"]

    def chart(self, name: str = "pareto") -> Any:
        """A chart of the report, Altair's, by its name; raises Refusal with those that there are."""
        with folder.readable(self.folder):
            found = import_module("kdsearch.analysis.report").charts(self.folder)
        if name not in found:
            raise unknown("chart of this search", name, found)
        return found[name]

    def report(self, path: str | Path | None = None, *, png: bool = False, svg: bool = False) -> list[Path]:
        """One HTML page (report.html in the search's folder, unless told); with `png` and `svg` each chart likewise."""
        target = Path(path) if path is not None else self.folder / "report.html"
        with folder.readable(self.folder):
            searches.bring_students(self._storage, self.folder, front.members(self._tables().trials.values()))
            pictures = [kind for kind, wanted in (("png", png), ("svg", svg)) if wanted]
            return import_module("kdsearch.analysis.report").write(self.folder, target, pictures, self._results)

    def export(
        self,
        trial: str | None = None,
        *,
        best: str | None = None,
        front: bool = False,
        output: str | Path = "exports",
        onnx: bool = False,
        int8: bool = False,
        int8_loss: float = 1.0,
        test: bool = False,
        data: str | None = None,
        data_dir: str | Path = "data",
        progress: bool | Console = True,
        told: Callable[[Path, list[str]], None] = nobody,
    ) -> list[Path]:
        """Write one trial, the best by accuracy or knee, or the whole front, each into a folder that others can use
        (docs/deploy.md); returns their folders. `told` hears of each, with what deserves to be said of it.

        `onnx`, `int8`: in these formats, too; `int8_loss`: percentage points of the validation images that int8 may
        lose; `test`: read the test images, once, for the card; `data`: where the folder of images lies now. Raises
        Refusal.
        """
        from kdsearch.search import export  # torch takes seconds

        wanted = export.Wanted(Path(output), onnx, int8, int8_loss, test, data, Path(data_dir))
        console = progress if isinstance(progress, Console) else show.console(stderr=True, quiet=not progress)
        found = []
        with Steps(console) as watch:
            with folder.readable(self.folder):
                tables = self._tables()
                chosen = export.chosen(tables, trial, best, front)
            searches.bring_students(self._storage, self.folder, chosen)
            for path, sentences in export.export(
                self.folder, self._students_storage, tables, chosen, wanted, watch.read
            ):
                found.append(path)
                told(path, sentences)
        return found

    def load(self, trial: str | int) -> "Deployed":
        """A trial's trained student as a torch.nn.Module in evaluation mode, with .classes, .preprocess, .predict, and
        .card. Raises Refusal where it has none."""
        from kdsearch.search.deployed import of_trial

        tables, name = self._tables(), str(trial)
        if name not in tables.trials:
            raise unknown("trial", name, tables.trials)
        searches.bring_students(self._storage, self.folder, [name])
        return of_trial(self.folder, self._students_storage, tables.trials[name])

    @property
    def _students_storage(self) -> Storage:
        """Where the store lies beside this search."""
        bucket = searches.in_bucket(self.folder, self._storage)
        return self._storage if bucket else Storage(self.folder.resolve().parent)

    def confirm(
        self,
        seeds: int = 5,
        *,
        test: bool = False,
        data_dir: str | Path = "data",
        data: str | None = None,
        max_concurrent: int | None = None,
        progress: bool | Console = True,
    ) -> list[results_seeds.Member]:
        """Train the front's members again with other seeds; `test`: and judge them on the test images.

        `data`: where the folder of images lies now; `progress`: whether it is shown, or where.
        """
        console = progress if isinstance(progress, Console) else show.console(quiet=not progress)
        with Steps(console) as watch, own_ray():
            from kdsearch.search.confirm import confirm  # seconds, of which the display tells
            from kdsearch.search.unconfirmed import Wanted

            wanted = Wanted(seeds, test, Path(data_dir), data, max_concurrent)
            confirm(self._name, at(self._results), wanted, watch.show, watch.read)
        return self.confirmed

    @property
    def confirmed(self) -> list[results_seeds.Member]:
        """The front's members that have confirmed seeds, from the largest to the smallest."""
        return results_seeds.members(self._tables(), self.facts.validation_images)

    def _tables(self) -> results_tables.Tables:
        if searches.in_bucket(self.folder, self._storage):
            searches.find(self._name, self._storage)  # as they are there by now
        with folder.readable(self.folder):
            return results_tables.read(self.folder)

    def __repr__(self) -> str:
        return f"<Search {self.name}: {self.state}, {len(self.trials)} trials>"

    def _repr_html_(self) -> str:
        shown, own = self.front, objective(self.facts.against)
        knobs = [name for name in shown.columns if name.startswith("knob.")]
        table = shown[["trial", "accuracy", own.column, own.ratio, "epochs", *knobs]].to_html(
            index=False, float_format=lambda value: f"{value:.4g}"
        )
        judged = any(row["accuracy"] is not None for row in self._tables().trials.values())
        chart = self.chart("pareto")._repr_mimebundle_() if judged and len(shown) > 1 else ({},)
        picture = chart[0] if isinstance(chart, tuple) else chart
        return f"<h3>{self.name}: {self.state}</h3>{table}{(picture or {}).get('text/html', '')}"


def _frame(rows: Any, names: list[str]) -> pd.DataFrame:
    """With the columns that every table of its kind has, and those that its rows have beside them."""
    plain = list(rows)
    columns = list(dict.fromkeys([*names, *(name for row in plain for name in row)]))
    return pd.DataFrame(plain, columns=columns)


def open(name: str | Path, results: str | Path | None = None) -> Search:
    """A search by its name or its path, also one that runs; `results`: where searches are, a folder or a bucket; None:
    KDSEARCH_STORAGE, else results."""
    return Search(name, results)


def spaces() -> dict[str, str]:
    """The spaces that come with kdsearch, and their questions."""
    from kdsearch.search import spaces as search_spaces

    return search_spaces.names()
