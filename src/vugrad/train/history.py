"""What training left behind: a record of every epoch."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from vugrad.suggest import choose


@dataclass(frozen=True)
class Epoch:
    """The figures of one epoch.

    ``loss`` and ``accuracy`` are means over the training instances as the epoch passed them, while the weights
    changed; ``validation_loss`` and ``validation_accuracy`` are those of the weights at its end. Accuracies are
    ``None`` without classes, validation figures without a validation split. ``seconds`` is the time of the pass over
    the training instances, without compilation and validation.
    """

    epoch: int
    loss: float
    accuracy: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    lr: float
    seconds: float
    images_per_second: float


@dataclass
class History:
    """The record of a training run: its epochs in order, and why it ended early if it did.

    >>> history = History()
    >>> history.epochs.append(Epoch(1, 0.5, 0.9, 0.4, 0.92, 0.01, 2.0, 2000.0))
    >>> history["validation_accuracy"]
    [0.92]
    """

    epochs: list[Epoch] = field(default_factory=list)
    stopped: str | None = None

    def __getitem__(self, name: str) -> list[Any]:
        """One figure of every epoch, by the name of a field of :class:`Epoch`; ``KeyError`` for any other name."""
        try:
            figure = choose("figure", name, {key: key for key in Epoch.__dataclass_fields__})
        except (TypeError, ValueError) as error:
            raise KeyError(f"{error} (history.epochs[-1] is the last epoch)") from None
        return [getattr(epoch, figure) for epoch in self.epochs]

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[Epoch]:
        return iter(self.epochs)

    def as_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> History:
        """The history that :meth:`as_dict` wrote; ``ValueError``, ``TypeError`` or ``KeyError`` for anything else."""
        epochs = [Epoch(**epoch) for epoch in record["epochs"]]
        for epoch in epochs:
            wrong = {name: value for name, value in vars(epoch).items() if not _is_figure(name, value)}
            if wrong:
                raise ValueError(f"not the record of an epoch: {wrong}")
        if not isinstance(record["stopped"], str | None):
            raise ValueError(f"stopped says why training ended, and not {record['stopped']!r}")
        return cls(epochs, record["stopped"])

    def _repr_html_(self) -> str | None:
        """Its curves, in a notebook where the extra ``lab`` is installed."""
        try:
            from vugrad.train.pictures import curves_svg
        except ImportError:
            return None
        return f"<p>{html.escape(repr(self))}</p>{curves_svg(self)}" if self.epochs else None

    def __repr__(self) -> str:
        ended = f", stopped: {self.stopped}" if self.stopped else ""
        last = f", last {json.dumps(asdict(self.epochs[-1]))}" if self.epochs else ""
        return f"<History of {len(self)} epochs{last}{ended}>"


def _is_figure(name: str, value: Any) -> bool:
    """Whether a value can be that figure of an epoch; JSON has null for losses that are not finite."""
    kinds = (int,) if name == "epoch" else (int, float, type(None))
    return isinstance(value, kinds) and not isinstance(value, bool)
