"""A training run as plain settings, and what each setting's name stands for."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from vugrad import losses, nn, ops, optim, random as randomness
from vugrad.data import Dataset, batches, load
from vugrad.initializers import INITIALIZERS
from vugrad.losses import Loss
from vugrad.suggest import choose
from vugrad.train.fit import REDUCTIONS, fit
from vugrad.train.history import History

if TYPE_CHECKING:
    from vugrad.check.examination import Findings


@dataclass(frozen=True)
class Recipe:
    """All that decides a run but the random numbers, by the names that the command line uses.

    ``shift`` moves each image by up to so many pixels while training. ``model`` and ``lr`` may be ``None``: the
    convolutional network where the images are large enough for it, and the optimizer's own rate. ``hidden`` are the
    features of the hidden linear layers, by default 4 × the input's for the multi-layer perceptron and (120, 84) for
    the convolutional network.

    >>> recipe = Recipe(data="digits", hidden=(32,), optimizer="sgd", lr=0.1)
    >>> data = recipe.build_data()
    >>> recipe.build_model(data)
    MLP()
      (0): Linear(64, 32)
      (1): ReLU()
      (2): Linear(32, 10)
    """

    data: str = "mnist5k"
    pixels: str = "unit"
    final: bool = False
    model: str | None = None
    hidden: tuple[int, ...] | None = None
    activation: str = "relu"
    batch_norm: bool = False
    residual: bool = False
    dropout: float = 0.0
    shift: int = 0
    init: str = "glorot_normal"
    loss: str = "cross_entropy"
    reduction: str = "mean"
    optimizer: str = "adam"
    lr: float | None = None
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    schedule: str = "cosine"
    clip_norm: float | None = None
    batch_size: int = 32
    epochs: int = 12
    shuffle: bool = True

    def __post_init__(self) -> None:
        for setting in fields(self):
            check_type(setting.name, str(setting.type), getattr(self, setting.name))
        if any(n < 1 for n in self.hidden or ()):
            raise ValueError(f"hidden holds the features of each hidden layer, at least 1, got {self.hidden}")
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Recipe:
        """The recipe of which ``dataclasses.asdict`` made these settings, which may have been through JSON since."""
        plain: dict[str, Any] = {name: tuple(x) if isinstance(x, list) else x for name, x in settings.items()}
        return cls(**plain)

    def changes(self) -> dict[str, Any]:
        """The settings that are not at their defaults."""
        usual = asdict(Recipe())
        return {name: value for name, value in asdict(self).items() if value != usual[name]}

    def build_data(self) -> Dataset:
        """The dataset, under the recipe's conventions."""
        return load(self.data, pixels=self.pixels, final=self.final)

    def build_model(self, data: Dataset) -> nn.Module:
        """A new network for the data, its weights drawn from the generator that ``vg.seed`` sets."""
        shape = data.train.x.shape[1:]
        name = self.model or ("cnn" if len(shape) == 3 and min(shape[1:]) >= 16 else "mlp")
        options: dict[str, Any] = {
            "activation": choose("activation", self.activation, nn.ACTIVATIONS),
            "batch_norm": self.batch_norm,
            "residual": self.residual,
            "dropout": self.dropout,
            "init": choose("initializer", self.init, INITIALIZERS),
        }
        network = choose("model", name, MODELS)(shape, data.num_classes, self.hidden, options)
        if not self.shift:
            return network
        if len(shape) != 3:
            raise ValueError(f"shift moves images, and each instance of this data has shape {shape}: leave it out")
        return nn.Sequential(nn.RandomShift(self.shift, float(data.train.x.min())), network)

    def build_optimizer(self, model: nn.Module) -> optim.Optimizer:
        """The optimizer of the model's parameters."""
        options: dict[str, Any] = {} if self.lr is None else {"lr": self.lr}
        make = choose("optimizer", self.optimizer, OPTIMIZERS)
        if self.momentum:
            if self.optimizer not in ("sgd", "rmsprop"):
                raise ValueError(f"{self.optimizer} has no momentum to set: use sgd or rmsprop, or leave it out")
            options["momentum"] = self.momentum
        if self.nesterov:
            if self.optimizer != "sgd":
                raise ValueError(f"{self.optimizer} does not look ahead: nesterov is for sgd")
            options["nesterov"] = True
        if self.weight_decay:
            options["weight_decay"] = self.weight_decay
        return make(model.parameters(), **options)

    def build_schedule(self, optimizer: optim.Optimizer, data: Dataset) -> optim.LRScheduler | None:
        """The schedule over all of the run's batches; ``None`` for a constant rate."""
        batches = -(-len(data.train.x) // self.batch_size) * self.epochs
        return choose("schedule", self.schedule, SCHEDULES)(optimizer, batches)

    def build_loss(self, data: Dataset) -> Loss:
        """The loss of a batch of logits against classes, a mean over the batch."""
        name, loss = self.loss, choose("loss", self.loss, losses.LOSSES)
        if name == "nll":
            return lambda outputs, classes: loss(ops.log_softmax(outputs), classes)
        if name in ("cross_entropy", "hinge"):
            return loss
        return lambda outputs, classes: loss(outputs, losses.one_hot(classes, data.num_classes))

    def doctor(self, seed: int = 0) -> Findings:
        """The faults of the recipe's first step; see :func:`vugrad.doctor`."""
        from vugrad.check.examination import doctor  # which training does not need

        randomness.seed(seed)
        data = self.build_data()
        model = self.build_model(data)
        loss, weight = self.build_loss(data), choose("reduction", self.reduction, REDUCTIONS)
        rng = randomness.seeded(seed) if self.shuffle else None
        batch = next(iter(batches(data.train.x, data.train.y, self.batch_size, rng)))
        return doctor(model, lambda outputs, y: loss(outputs, y) * weight(len(y)), batch, self.build_optimizer(model))

    def fit(
        self,
        model: nn.Module,
        data: Dataset,
        optimizer: optim.Optimizer,
        schedule: optim.LRScheduler | None,
        loss: Loss | None = None,
        **options: Any,
    ) -> History:
        """Train a model by :func:`vugrad.train.fit` with the recipe's settings and further ``options`` of ``fit``.

        ``loss`` replaces the recipe's, for a model whose outputs are not one for each class.
        """
        return fit(
            model,
            data,
            loss=loss or self.build_loss(data),
            optimizer=optimizer,
            epochs=self.epochs,
            batch_size=self.batch_size,
            schedule=schedule,
            shuffle=self.shuffle,
            reduction=self.reduction,
            max_norm=self.clip_norm,
            **options,
        )


#: How a setting of several numbers names its type.
INTS = "tuple[int, ...]"


def check_type(name: str, kind: str, value: Any) -> None:
    """Raise ``ValueError`` for a value that is not of a type that settings have, by its name."""
    if not _is(kind, value):
        raise ValueError(f"{name} is of type {kind}, which {value!r} is not")


def _is(kind: str, value: Any) -> bool:
    """Whether a value is of a type that settings have, by its name."""
    if kind.endswith(" | None"):
        return value is None or _is(kind.removesuffix(" | None"), value)
    if kind == INTS:
        return isinstance(value, Sequence) and not isinstance(value, str) and all(_is("int", x) for x in value)
    types = {"str": str, "bool": bool, "int": Integral, "float": Real}
    return isinstance(value, types[kind]) and (kind == "bool" or not isinstance(value, bool))


def _mlp(shape: tuple[int, ...], classes: int, hidden: tuple[int, ...] | None, options: dict[str, Any]) -> nn.Module:
    features = functools.reduce(int.__mul__, shape)
    return nn.MLP([features, *((4 * features,) if hidden is None else hidden), classes], **options)


def _cnn(shape: tuple[int, ...], classes: int, hidden: tuple[int, ...] | None, options: dict[str, Any]) -> nn.Module:
    if len(shape) != 3:
        raise ValueError(f"the model 'cnn' takes images, and each instance of this data has shape {shape}: use 'mlp'")
    return nn.LeNet(classes, shape, (120, 84) if hidden is None else hidden, **options)


def _strided(
    shape: tuple[int, ...], classes: int, hidden: tuple[int, ...] | None, options: dict[str, Any]
) -> nn.Module:
    if len(shape) != 3:
        raise ValueError(f"the model 'strided' takes images, and each instance has shape {shape}: use 'mlp'")
    if hidden is not None or options["batch_norm"] or options["residual"] or options["dropout"]:
        raise ValueError("the model 'strided' has no hidden linear layers, and so none of their options: use 'cnn'")
    return nn.StridedCNN(classes, shape, activation=options["activation"], init=options["init"])


MODELS: dict[str, Callable[..., nn.Module]] = {"cnn": _cnn, "mlp": _mlp, "strided": _strided}

OPTIMIZERS: dict[str, Callable[..., optim.Optimizer]] = {
    "sgd": optim.SGD,
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "rmsprop": optim.RMSprop,
    "adagrad": optim.Adagrad,
}

SCHEDULES: dict[str, Callable[[optim.Optimizer, int], optim.LRScheduler | None]] = {
    "constant": lambda optimizer, batches: None,
    "step": lambda optimizer, batches: optim.StepLR(optimizer, max(1, batches // 3)),
    "cosine": lambda optimizer, batches: optim.CosineAnnealingLR(optimizer, batches),
    "warmup": lambda optimizer, batches: optim.LinearLR(optimizer, total_iters=max(1, batches // 10)),
    "onecycle": lambda optimizer, batches: optim.OneCycleLR(optimizer, optimizer.lr, batches),
}

#: Whole recipes by name, for the command's ``--recipe``.
RECIPES: dict[str, Recipe] = {
    # 99 % on MNIST's test set with as little work as we found: chosen on the validation split alone.
    "fast99": Recipe(
        data="mnist",
        pixels="standard",
        final=True,
        model="strided",
        shift=1,
        init="he_normal",
        optimizer="sgd",
        lr=0.1,
        momentum=0.9,
        nesterov=True,
        weight_decay=1e-3,
        schedule="onecycle",
        batch_size=128,
        epochs=4,
    ),
}
