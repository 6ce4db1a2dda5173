"""What all optimizers share: the loop over parameters, and state that can be saved and loaded."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

import numpy as np

from vugrad.graph import TensorNode
from vugrad.optim.parameters import Array, checked_parameters, gradient

State = dict[str, Any]


class Optimizer:
    """What all optimizers share; a subclass writes ``update``, and names its state's arrays in ``buffers``.

    Args:
        params: the TensorNodes to train, as from ``model.parameters()``. One whose ``requires_grad`` is False is
            skipped for as long as that is so; one that no loss has reached has a gradient of zeros.
        lr: the learning rate, afterwards a plain attribute.
        weight_decay: λ; the gradient of the penalty λ/2·‖p‖² is added to each gradient.

    Raises ``TypeError`` for anything in ``params`` that is not a floating-point TensorNode, ``ValueError`` where
    there are none, for one that is there twice, and for a number out of range.

    >>> import numpy as np, vugrad as vg
    >>> class SignDescent(vg.optim.Optimizer):
    ...     def update(self, p, g, state):
    ...         p.value -= self.lr * np.sign(g)
    >>> x = vg.TensorNode(np.array([3.0, -4.0]))
    >>> (x * x).sum().backward()
    >>> SignDescent([x], lr=0.5).step()
    >>> x.value
    array([ 2.5, -3.5])
    """

    def __init__(self, params: Iterable[TensorNode], lr: float, weight_decay: float = 0) -> None:
        self.params = checked_parameters(params)
        self.lr = number("lr", lr)
        self.weight_decay = number("weight_decay", weight_decay)
        #: The rate that schedules start from: what ``lr`` was when the first one took hold of it.
        self.initial_lr: float | None = None
        #: For each parameter its count of updates, ``"step"``, and the arrays that ``buffers`` names.
        self.state: list[State] = [{"step": 0} for _ in self.params]

    def buffers(self) -> tuple[str, ...]:
        """The names of the arrays that the rule keeps for each parameter, all of the parameter's shape."""
        return ()

    def update(self, p: TensorNode, g: Array, state: State) -> None:
        """The rule: move ``p.value`` given its gradient; ``state["step"]`` is 1 on the first call."""
        raise NotImplementedError(f"{type(self).__name__} has no rule: define update(self, p, g, state)")

    def decay(self, p: TensorNode, g: Array) -> Array:
        """The gradient with that of the penalty: g + λ·p."""
        return g + self.weight_decay * p.value if self.weight_decay else g

    def step(self) -> None:
        """Update every parameter that is not frozen, from its ``.grad``."""
        self.allocate()
        for p, state in zip(self.params, self.state, strict=True):
            if p.requires_grad:
                state["step"] += 1
                self.update(p, self.decay(p, gradient(p)), state)

    def allocate(self) -> None:
        """Create the state that is missing, as zeros, and give all of it its parameter's dtype.

        ``step`` does so by itself; whoever records a step calls it first, so that no zeros are recorded.
        """
        for p, state in zip(self.params, self.state, strict=True):
            if p.requires_grad:
                for name in self.buffers():
                    held = state.get(name)
                    state[name] = np.zeros_like(p.value) if held is None else held.astype(p.value.dtype, copy=False)

    def zero_grad(self) -> None:
        """Forget the parameters' gradients."""
        for p in self.params:
            p.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs to go on exactly: numbers, and copies of the arrays under flat names.

        The other hyperparameters (momentum, betas, …) are not state: they are the constructor's.

        >>> import vugrad as vg
        >>> vg.optim.SGD([vg.TensorNode([1.0])], lr=0.1).state_dict()
        {'lr': 0.1, 'initial_lr': None, 'step': [0], 'state': {}}
        """
        return {
            "lr": self.lr,
            "initial_lr": self.initial_lr,
            "step": [state["step"] for state in self.state],
            "state": {
                f"{i}.{name}": state[name].copy()
                for i, state in enumerate(self.state)
                if state["step"]
                for name in self.buffers()
            },
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what ``state_dict`` of the same optimizer gave.

        Raises ``ValueError`` with everything that does not fit, and then nothing was loaded.
        """
        if set(state_dict) != {"lr", "initial_lr", "step", "state"}:
            raise ValueError(f"not the state_dict of an optimizer: its keys are {', '.join(state_dict) or 'none'}")
        lr, initial_lr, steps, arrays = (state_dict[key] for key in ("lr", "initial_lr", "step", "state"))
        lr = number("lr", lr)
        initial_lr = None if initial_lr is None else number("initial_lr", initial_lr)
        if not all(isinstance(n, int) and n >= 0 for n in steps):
            raise ValueError(f"step must hold a count of updates for each parameter, not {steps}")
        problems = []
        if len(steps) != len(self.params):
            problems.append(f"it is of {len(steps)} parameters, and there are {len(self.params)} here")
        state: list[State] = [{"step": n} for n in steps]
        used = set()
        for i, (p, entry) in enumerate(zip(self.params, state, strict=False)):
            for name in self.buffers() if entry["step"] else ():
                key = f"{i}.{name}"
                used.add(key)
                if key not in arrays:
                    problems.append(f"{key} is missing")
                elif arrays[key].shape != p.value.shape:
                    problems.append(f"{key} has shape {arrays[key].shape}, its parameter {p.value.shape}")
                else:
                    entry[name] = np.array(arrays[key], dtype=p.value.dtype)
        problems += [f"{key} is nothing that {type(self).__name__} keeps" for key in arrays if key not in used]
        if problems:
            raise ValueError("the state does not fit, and none of it was loaded:\n  " + "\n  ".join(problems))
        self.lr, self.initial_lr = lr, initial_lr
        for own, loaded in zip(self.state, state, strict=True):  # in place, since compiled steps hold on to them
            own.clear()
            own.update(loaded)


def number(name: str, value: Any, below: float = math.inf) -> float:
    """``value`` as a Python float (NumPy's would turn float32 arrays into float64), if it is in [0, below).

    >>> number("lr", -1)
    Traceback (most recent call last):
    ValueError: lr=-1 is out of range: it must be in [0, inf)
    """
    if not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, not {value!r}")
    if not 0 <= (result := float(value)) < below:
        raise ValueError(f"{name}={value} is out of range: it must be in [0, {below:g})")
    return result
