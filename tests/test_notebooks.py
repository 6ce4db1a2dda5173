"""The notebooks run from the first cell to the last, and what they show is there."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.name)
@pytest.mark.filterwarnings("ignore")  # of the kernel's own libraries
def test_it_runs(path):
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    shown = [output.data for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output]
    assert all(not cell.get("outputs") or cell.outputs[0].output_type != "error" for cell in notebook.cells)
    assert sum("<svg" in data.get("text/html", "") for data in shown) >= 1
    assert sum("<iframe" in data.get("text/html", "") for data in shown) >= 1
    nbformat.validate(notebook)


def test_it_is_kept_without_results():
    for path in FOLDER.glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        assert all(cell.get("outputs", []) == [] and cell.get("execution_count") is None for cell in notebook.cells)
