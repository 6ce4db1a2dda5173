"""What ``vugrad train`` leaves behind: a network, and how it came to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from vugrad.data import Dataset
from vugrad.nn import Module
from vugrad.train.checkpoint import Saved
from vugrad.train.recipe import Recipe


@dataclass(frozen=True)
class Trained:
    """How a network was trained, as the manifest of its checkpoint has it: enough to make it again, or go on with it.

    ``shape`` is that of an instance. Of images, ``low`` and ``high`` are the least and the greatest number, paper and
    ink, and ``box`` says how large they are drawn: see :func:`box_of`.
    """

    recipe: Recipe
    seed: int
    patience: int | None
    shape: tuple[int, ...]
    classes: int
    low: float
    high: float
    box: int | None
    #: The epochs that it has behind it.
    epoch: int = 0

    @classmethod
    def on(cls, data: Dataset, recipe: Recipe, seed: int, patience: int | None) -> Trained:
        """A training that is about to begin."""
        x = data.train.x
        box = box_of(x) if x.ndim == 4 else None
        return cls(recipe, seed, patience, x.shape[1:], data.num_classes, float(x.min()), float(x.max()), box)

    @classmethod
    def of(cls, saved: Saved) -> Trained:
        """What a checkpoint says; ``ValueError`` for one that ``vugrad train`` has not written."""
        try:
            about = dict(saved.manifest["about"])
            recipe, shape = Recipe.from_dict(about.pop("recipe")), tuple(about.pop("shape"))
            made = cls(recipe, shape=shape, **about | {"epoch": len(saved.history)})
            if not (_whole(made.classes, *shape, 1 if made.box is None else made.box) and made.low < made.high):
                raise ValueError("its numbers make no sense")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"{saved.path} does not say what network it is of: only those that `vugrad train` writes do. Make the "
                "network yourself, and read its weights with vg.train.load_checkpoint"
            ) from error
        return made

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def network(self, saved: Saved) -> Module:
        """The network, with the weights in a checkpoint."""
        zeros = np.zeros((2, *self.shape), np.float32)
        zeros[0], zeros[1] = self.low, self.high
        model = self.recipe.build_model(Dataset((zeros, np.zeros(2, np.int64)), num_classes=self.classes))
        saved.into({"model": model})
        return model.eval()

    def again(self, settings: Mapping[str, Any]) -> Trained:
        """The same, to be resumed with these settings, of which only ``epochs`` may be others, and more.

        Raises ``ValueError`` that lists those that are.
        """
        was = {**asdict(self.recipe), "seed": self.seed, "patience": self.patience}
        epochs = settings.get("epochs", self.recipe.epochs)
        free = "epochs" if self.recipe.schedule == "constant" and epochs >= self.epoch else ""
        differ = [name for name, value in settings.items() if name != free and value != was[name]]
        if differ:
            lines = [f"\n  {name} was {was[name]}, and is {settings[name]} now" for name in differ]
            if "epochs" in differ:
                lines += [f"\n  (it has {self.epoch} epochs behind it, on the schedule {self.recipe.schedule!r}"]
                lines += [", which is over all of them)" if self.recipe.schedule != "constant" else ")"]
            raise ValueError("a run is resumed with the settings that it began with:" + "".join(lines))
        return replace(self, recipe=replace(self.recipe, epochs=epochs))


def _whole(*numbers: Any) -> bool:
    """Whether all are whole numbers above 0."""
    return all(type(n) is int and n > 0 for n in numbers)


def box_of(images: np.ndarray[Any, Any]) -> int:
    """How many pixels of what is drawn lie along its longer side, in most of the images (N, 1, H, W): 20 in MNIST."""
    ink = images[:, 0] > images.min()
    extents = []
    for axis in (1, 2):
        used = ink.any(axis=3 - axis)
        extents.append(used.shape[1] - used.argmax(axis=1) - used[:, ::-1].argmax(axis=1))
    return int(np.median(np.maximum(*extents)))
