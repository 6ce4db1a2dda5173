"""What a dataset is: up to three splits of inputs and targets, checked once, when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Split(NamedTuple):
    """Inputs ``x`` of shape (N, …) and targets ``y`` of shape (N,) for labels or (N, …) for regression."""

    x: NDArray[Any]
    y: NDArray[Any]


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Dataset:
    """Training instances, and validation and test instances where there are any.

    Each split is a pair ``(x, y)`` of N ≥ 1 instances. The dtype of ``y`` says what the task is:

    - integers (or booleans) of shape (N,) or (N, 1) are class labels 0 … num_classes − 1, kept as int64 of shape (N,);
      ``num_classes`` is, unless it is given, the largest label of any split, plus 1;
    - floats of shape (N, …) are targets of a regression, and ``num_classes`` is 0.

    The arrays of ``x`` are kept as they are, not copied.

    Raises a ``TypeError`` where a split is not a pair, an array does not hold real numbers, or labels and
    regression targets are mixed; a ``ValueError`` where a split is empty, ``x`` and ``y`` differ in length, a
    value is NaN or infinite, a label is out of range, or the instances of two splits differ in shape.

    >>> import numpy as np
    >>> Dataset((np.zeros((4, 2)), np.array([0, 1, 2, 1])), test=(np.ones((2, 2)), np.array([0, 1])))
    <Dataset arrays: 4 train, 2 test; x (2,) float64; 3 classes>
    >>> Dataset((np.zeros((4, 2)), np.eye(4, dtype=int)))
    Traceback (most recent call last):
    ValueError: train.y has shape (4, 4), but labels have one axis: write y.argmax(axis=1) if each row is one-hot, ...
    """

    train: Split
    validation: Split | None
    test: Split | None
    num_classes: int
    name: str

    # Written out, because what goes in (pairs of anything like an array) is looser than what comes out.
    def __init__(
        self,
        train: tuple[ArrayLike, ArrayLike],
        validation: tuple[ArrayLike, ArrayLike] | None = None,
        test: tuple[ArrayLike, ArrayLike] | None = None,
        num_classes: int | None = None,
        name: str = "arrays",
    ) -> None:
        pairs = {"train": train, "validation": validation, "test": test}
        splits = {part: _split(part, pair) for part, pair in pairs.items() if pair is not None or part == "train"}
        _check_alike(splits)
        fields = {
            **{part: splits.get(part) for part in pairs},
            "num_classes": _count_classes(splits, num_classes),
            "name": name,
        }
        for field, value in fields.items():
            object.__setattr__(self, field, value)  # the way past `frozen`

    def __repr__(self) -> str:
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        sizes = ", ".join(f"{len(split.x):,} {part}" for part, split in parts.items() if split is not None)
        x = self.train.x
        task = f"{self.num_classes} classes" if self.num_classes else "regression"
        return f"<Dataset {self.name}: {sizes}; x {x.shape[1:]} {x.dtype}; {task}>"


def _split(part: str, pair: object) -> Split:
    """The pair as a Split of arrays that agree with each other; labels become int64."""
    if not (isinstance(pair, (tuple, list)) and len(pair) == 2):
        raise TypeError(f"{part} must be a pair of arrays (x, y), not {type(pair).__name__}")
    x, y = (_array(f"{part}.{letter}", values) for letter, values in zip("xy", pair, strict=True))
    for letter, values in (("x", x), ("y", y)):
        _check_numbers(f"{part}.{letter}", values)
    if len(x) != len(y):
        raise ValueError(
            f"{part}.x has {len(x)} instances, shape {x.shape}, and {part}.y has {len(y)}, shape {y.shape}: "
            "give each instance one target"
        )
    if y.dtype.kind == "f":
        return Split(x, y)
    if y.size != len(y):
        raise ValueError(
            f"{part}.y has shape {y.shape}, but labels have one axis: write y.argmax(axis=1) if each row is one-hot, "
            "y.astype(np.float32) if these are targets of a regression"
        )
    return Split(x, y.reshape(-1).astype(np.int64, copy=False))


def _array(name: str, values: Any) -> NDArray[Any]:
    if isinstance(values, (tuple, list)) and len(values) == 2 and all(hasattr(part, "shape") for part in values):
        raise TypeError(
            f"{name} is itself a pair of arrays, like a split: name the splits, as in vg.data.Dataset((x, y), "
            "validation=(x_validation, y_validation))"
        )
    if hasattr(values, "toarray"):
        raise TypeError(f"{name} is sparse, a {type(values).__name__}: write x.toarray()")
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a masked array, and its mask would be lost: remove masked instances, or fill them, as in "
            f"{name[-1]}.filled(0)"
        )
    if values is None:
        raise TypeError(f"{name} is None: give each instance a target, as in (x, y)")
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} is not an array, since its rows differ in length: {error}") from error


def _check_numbers(name: str, values: NDArray[Any]) -> None:
    if values.dtype.kind not in "biuf":
        hint = "; np.unique(y, return_inverse=True)[1] numbers the classes" if name.endswith("y") else ""
        raise TypeError(f"{name} holds {values.dtype}, but must hold real numbers{hint}")
    if values.ndim == 0 or values.size == 0:
        raise ValueError(f"{name} has shape {values.shape}: there must be at least one instance, on axis 0")
    # The minimum and the maximum carry any NaN or infinity along, and take no memory.
    if values.dtype.kind == "f" and not (np.isfinite(values.min()) and np.isfinite(values.max())):
        first = tuple(np.argwhere(~np.isfinite(values))[0].tolist())
        raise ValueError(
            f"{name}[{', '.join(map(str, first))}] is {values[first]}: every value must be finite; "
            "leave such instances out, or fill the gaps before"
        )


def _check_alike(splits: dict[str, Split]) -> None:
    """Every split has instances of one shape, and all have labels or all have regression targets."""
    train = splits["train"]
    for part, (x, y) in splits.items():
        if x.shape[1:] != train.x.shape[1:]:
            raise ValueError(
                f"an instance has shape {train.x.shape[1:]} in train.x and {x.shape[1:]} in {part}.x: "
                "they must be the same"
            )
        if (y.dtype.kind == "f") != (train.y.dtype.kind == "f"):
            raise TypeError(
                f"train.y holds {train.y.dtype} and {part}.y holds {y.dtype}: integers are class labels and "
                "floats are regression targets; use one of them in every split"
            )
        if y.shape[1:] != train.y.shape[1:]:
            raise ValueError(
                f"a target has shape {train.y.shape[1:]} in train.y and {y.shape[1:]} in {part}.y: "
                "they must be the same"
            )


def _count_classes(splits: dict[str, Split], num_classes: int | None) -> int:
    """The number of classes, 0 for a regression; every label is checked against it."""
    dtype = splits["train"].y.dtype
    if dtype.kind == "f":
        if num_classes:
            raise TypeError(
                f"train.y holds {dtype}, which are regression targets, but num_classes={num_classes}: "
                "write y.astype(np.int64) if they are labels, else leave num_classes out"
            )
        return 0
    if num_classes is None:
        num_classes = int(max(y.max() for _, y in splits.values())) + 1
    elif num_classes < 1:
        raise ValueError(
            f"num_classes={num_classes}, but train.y holds {dtype}, which are labels: leave num_classes out, "
            "or write y.astype(np.float32) if they are regression targets"
        )
    for part, (_, y) in splits.items():
        wrong = np.flatnonzero((y < 0) | (y >= num_classes))
        if len(wrong):
            raise ValueError(
                f"{part}.y[{wrong[0]}] is {y[wrong[0]]}, but labels of {num_classes} classes go from 0 to "
                f"{num_classes - 1}; {len(wrong)} of {len(y)} are out of range"
            )
    return num_classes
