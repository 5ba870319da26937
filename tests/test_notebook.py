"""The notebook of docs/ runs from its first cell to its last, and shows what it says."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebook.ipynb"
FEWER = {"trials=8, epochs=6, teacher_epochs=3": "trials=3, epochs=3, teacher_epochs=1", "trials=10": "trials=4"}


def cells() -> list[Any]:
    return [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]


@pytest.mark.whole
def test_the_notebook_runs_and_shows_front_and_chart(tmp_path):
    text = NOTEBOOK.read_text()
    for own, fewer in FEWER.items():
        assert text.count(own) == 1
        text = text.replace(own, fewer)
    book = nbformat.reads(text, as_version=4)
    NotebookClient(book, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    shown = {
        cell.source: [out.data for out in cell.outputs if "data" in out] for cell in book.cells if "outputs" in cell
    }
    (chart,) = shown['search.chart("pareto")']
    assert any("vegalite" in kind or "html" in kind for kind in chart)
    search = next(found for source, found in shown.items() if source.endswith('name="notebook")\nsearch'))
    assert "table" in search[-1]["text/html"]
    assert (tmp_path / "results" / "notebook" / "search.json").is_file()
    assert list((tmp_path / "exports").glob("*/*/student.safetensors"))


def test_the_notebook_is_kept_without_outputs():
    assert all(not cell.outputs and cell.execution_count is None for cell in cells())
