"""Networks as scikit-learn's estimators (extra ``lab``): for its pipelines, searches and scores."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.model_selection import train_test_split
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError("vg.sklearn needs the package scikit-learn, 1.6 or newer: pip install 'vugrad[lab]'") from error

from vugrad import ops, random as randomness
from vugrad.data import Dataset
from vugrad.losses import binary_cross_entropy_with_logits
from vugrad.nn import Module
from vugrad.train import EarlyStopping, History, predict
from vugrad.train.recipe import Recipe

__all__ = [
    "Classifier",
]

Array = np.ndarray[Any, Any]


class Classifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A network that tells classes apart, with the methods of scikit-learn's classifiers.

    Args:
        hidden: features of the hidden layers of a multi-layer perceptron, in order.
        activation, batch_norm, dropout: of that perceptron, as in ``vugrad train``.
        module: a function ``(n_features, n_classes)`` that makes a network of your own, in place of the perceptron. The
            network takes rows of features in float32 and returns a logit for each class; for two classes it may return
            the logit of the second class alone (binary cross-entropy). Define the function at the top level of a file,
            so that the classifier can be pickled, for other processes and joblib's files.
        optimizer: "adam", "adamw", "sgd", "rmsprop" or "adagrad".
        lr, momentum, weight_decay: of the optimizer; ``lr=None`` is its own default.
        schedule: of the learning rate: "cosine", "constant", "step", "warmup" or "onecycle".
        batch_size: instances in an update.
        epochs: how many times ``fit`` passes the data.
        patience: end early when so many epochs were no better on a share of the data that is held out for it, and go
            back to the best; ``None`` to train on all of the data for all epochs.
        validation_fraction: that share.
        random_state: a whole number for the same result every time.
        compile: train in native code; see :func:`vugrad.train.fit`.
        verbose: show a live bar.

    Attributes after ``fit``: ``classes_``, ``n_features_in_``, ``feature_names_in_`` where there are names, ``model_``
    (the network) and ``history_``.

    Inputs are taken as they are: put a ``StandardScaler`` before it. ``fit`` begins anew each time, and Ctrl-C ends it
    early, as ``history_.stopped`` says then. Every instance counts alike: there are no weights of samples or classes.
    Raises ``ValueError`` for data and settings that do not fit, and for a loss that is not a number any more.

    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> import vugrad as vg
    >>> model = make_pipeline(StandardScaler(), vg.sklearn.Classifier(random_state=0))
    >>> model.fit(*load_iris(return_X_y=True)).score(*load_iris(return_X_y=True)) > 0.9
    True
    """

    def __init__(
        self,
        hidden: tuple[int, ...] = (100,),
        activation: str = "relu",
        *,
        batch_norm: bool = False,
        dropout: float = 0.0,
        module: Callable[[int, int], Module] | None = None,
        optimizer: str = "adam",
        lr: float | None = None,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        schedule: str = "cosine",
        batch_size: int = 32,
        epochs: int = 200,
        patience: int | None = None,
        validation_fraction: float = 0.1,
        random_state: Any = None,
        compile: bool = True,
        verbose: bool = False,
    ) -> None:
        # As scikit-learn demands: kept as they are, and looked at in fit.
        self.hidden, self.activation, self.batch_norm, self.dropout = hidden, activation, batch_norm, dropout
        self.module = module
        self.optimizer, self.lr, self.momentum, self.weight_decay = optimizer, lr, momentum, weight_decay
        self.schedule, self.batch_size, self.epochs = schedule, batch_size, epochs
        self.patience, self.validation_fraction = patience, validation_fraction
        self.random_state, self.compile, self.verbose = random_state, compile, verbose

    def fit(self, X: Any, y: Any) -> Classifier:
        """Train a new network.

        Args:
            X: (n, features), numbers.
            y: (n,), labels of any kind, of at least two classes.
        """
        for name in ("model_", "classes_", "history_"):  # those of a fit before, if this one fails
            self.__dict__.pop(name, None)
        recipe = self._recipe()
        X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        classes, labels = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(
                f"Classifier: y holds one class only, {classes.tolist()[0]!r}: there is nothing to tell apart"
            )
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        callbacks = []
        data = Dataset((X, labels))
        if self.patience is not None:
            callbacks.append(EarlyStopping(self.patience))
            parts = self._held_out(X, labels, seed)
            data = Dataset(tuple(parts[0::2]), validation=tuple(parts[1::2]), num_classes=len(classes))
        with randomness.drawn_from(randomness.seeded(seed)):
            model = recipe.build_model(data) if self.module is None else self._own(X, len(classes))
            optimizer = recipe.build_optimizer(model)
            schedule = recipe.build_schedule(optimizer, data)
            options = {"callbacks": callbacks, "progress": self.verbose, "compile": self.compile}
            loss = binary_cross_entropy_with_logits if predict(model, X[:1]).shape == (1, 1) else None
            history = recipe.fit(model, data, optimizer, schedule, loss, **options)
        if (history.stopped or "").startswith("the loss became"):
            raise ValueError(
                f"Classifier: {history.stopped}. Scale the inputs, with a StandardScaler before it, or set a smaller lr"
            )
        self.classes_: Array = classes
        self.model_: Module = model
        self.history_: History = history
        return self

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class in ``classes_``, for each row of X: (n, classes)."""
        check_is_fitted(self, "model_")
        X = validate_data(self, X, dtype=np.float32, reset=False)
        outputs = predict(self.model_, X)
        if outputs.shape[1] == 1:  # the logit of the second class, beside 0 for the first
            outputs = np.concatenate([np.zeros_like(outputs), outputs], axis=1)
        probabilities: Array = ops.Softmax.do_forward(outputs.astype(np.float64)).value
        return probabilities

    def predict(self, X: Any) -> Array:
        """The most probable class for each row of X: (n,)."""
        chosen: Array = self.predict_proba(X).argmax(axis=1)
        classes: Array = self.classes_[chosen]
        return classes

    def _recipe(self) -> Recipe:
        """The settings as those of a training run; ``ValueError`` for those that would say nothing."""
        if not isinstance(self.hidden, tuple | list):
            raise TypeError(
                f"Classifier: hidden holds the features of each hidden layer, as in hidden=(100,), got {self.hidden!r}"
            )
        if self.module is not None:
            defaults = inspect.signature(Classifier).parameters
            idle = [
                name
                for name in ("hidden", "activation", "batch_norm", "dropout")
                if getattr(self, name) != defaults[name].default
            ]
            if idle:
                raise ValueError(
                    f"Classifier: module makes the network, so {' and '.join(idle)} would change nothing: leave it out"
                )
        return Recipe(
            hidden=tuple(self.hidden),
            activation=self.activation,
            batch_norm=self.batch_norm,
            dropout=self.dropout,
            optimizer=self.optimizer,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
            batch_size=self.batch_size,
            epochs=self.epochs,
        )

    def _held_out(self, X: Array, labels: Array, seed: int) -> list[Any]:
        """Inputs and labels in two parts, of which the second is held out, with all classes in both."""
        try:
            parts: list[Any] = train_test_split(
                X, labels, test_size=self.validation_fraction, stratify=labels, random_state=seed
            )
        except ValueError as error:
            raise ValueError(
                f"Classifier: with patience={self.patience}, validation_fraction={self.validation_fraction!r} of the "
                f"data is held out, some of each class; of {len(X)} instances that cannot be done ({error}). Give more "
                "of them, another fraction, or patience=None"
            ) from error
        return parts

    def _own(self, X: Array, n_classes: int) -> Module:
        """The network that ``module`` makes, once it has shown what it gives."""
        if isinstance(self.module, Module) or not callable(self.module):
            raise TypeError(
                "Classifier: module is a function that makes a new network for every fit, as in module=lambda "
                f"n_features, n_classes: vg.nn.MLP([n_features, 50, n_classes]), got {self.module!r}"
            )
        shape = X.shape[1], n_classes
        model = self.module(*shape)
        if not isinstance(model, Module):
            raise TypeError(f"Classifier: module{shape} must return a vg.nn.Module, got {model!r}")
        outputs = predict(model, X[:1])
        if outputs.shape != (1, shape[1]) and (outputs.shape, shape[1]) != ((1, 1), 2):
            raise ValueError(
                f"Classifier: the network that module{shape} makes returns shape {outputs.shape} for one row: it must "
                f"return a logit for each of the {shape[1]} classes, shape (1, {shape[1]})"
            )
        return model


def __dir__() -> list[str]:
    return __all__
