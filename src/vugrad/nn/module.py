"""Module: parameters and the function they belong to, found where they are kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

from vugrad.graph import TensorNode, is_array


class Unmatched(NamedTuple):
    """The names that only a module has, and those that only a state has: both empty if they are alike."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """A function with parameters. Subclass it, make its parts in ``__init__`` and compute in ``forward``.

    A leaf :class:`TensorNode` in an attribute is a parameter, a NumPy array is a buffer (running statistics), a
    Module is a part; lists, tuples and dicts of these are searched too, in order. Names are paths, as in
    PyTorch: ``"layers.0.weight"``. Attributes whose name begins with an underscore are left alone.

    >>> import vugrad as vg
    >>> class Net(vg.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.layers = [vg.nn.Linear(4, 3), vg.nn.Linear(3, 2)]
    ...     def forward(self, x):
    ...         for layer in self.layers:
    ...             x = vg.relu(layer(x))
    ...         return x
    >>> [name for name, _ in Net().named_parameters()]
    ['layers.0.weight', 'layers.0.bias', 'layers.1.weight', 'layers.1.bias']
    """

    training = True
    #: What notebooks show, where ``vugrad.viewer`` says it.
    _repr_html_: ClassVar[Any] = None

    def __init__(self) -> None:
        self.training = True

    def forward(self, *args: Any, **keywords: Any) -> Any:
        """The module's value; every Module defines its own."""
        raise NotImplementedError(f"{type(self).__name__} needs a method forward(self, x)")

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Call ``forward``; arrays among the arguments become constant nodes."""
        nodes = [_as_node(x) for x in args]
        return self.forward(*nodes, **{name: _as_node(x) for name, x in keywords.items()})

    # --- what it is made of

    def named_members(self) -> Iterator[tuple[str, Any]]:
        """Every module, parameter and buffer with its path, this module first under the path ``""``."""
        return _members("", self, set())

    def named_arrays(self) -> list[tuple[list[str], np.ndarray[Any, Any]]]:
        """The array of every parameter and buffer with its paths: more than one where it is shared."""
        found: dict[int, tuple[list[str], Any]] = {}
        for name, member in _members("", self, frozenset()):
            if not isinstance(member, Module):
                found.setdefault(id(member), ([], member))[0].append(name)
        return [(names, one.value if isinstance(one, TensorNode) else one) for names, one in found.values()]

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """The module itself and every one in it, with their paths."""
        return ((name, member) for name, member in self.named_members() if isinstance(member, Module))

    def named_parameters(self) -> Iterator[tuple[str, TensorNode]]:
        """Every parameter with its path; one that is shared comes once, under its first."""
        return ((name, member) for name, member in self.named_members() if isinstance(member, TensorNode))

    def named_buffers(self) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
        """Every buffer with its path."""
        return ((name, member) for name, member in self.named_members() if isinstance(member, np.ndarray))

    def parameters(self) -> list[TensorNode]:
        """The parameters, in order. Course code overrides it to say which they are; a part's own word counts too."""
        found = {id(parameter): parameter for _, parameter in self.named_parameters()}
        for _, module in self.named_modules():
            if module is not self and type(module).parameters is not Module.parameters:
                for _, parameter in module.named_parameters():
                    found.pop(id(parameter), None)
                found |= {id(parameter): parameter for parameter in module.parameters()}
        return list(found.values())

    # --- modes and gradients

    def train(self, mode: bool = True) -> Module:
        """Switch dropout and batch statistics on (``mode=True``) or off, here and in every part."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """``train(False)``."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget the gradient of every parameter."""
        for parameter in self.parameters():
            parameter.zero_grad()

    # --- state

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        """Copies of every parameter's and buffer's array, by path."""
        state: dict[str, np.ndarray[Any, Any]] = {}
        for name, member in self.named_members():
            if not isinstance(member, Module):
                if name in state:
                    raise called_the_same(name)
                state[name] = np.array(member.value if isinstance(member, TensorNode) else member)
        return state

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> Unmatched:
        """Write the arrays of a ``state_dict`` into this module's own, in place.

        Args:
            state: arrays by path; one that is shared may be under any of its paths, or, as in PyTorch, under all.
            strict: whether every array must be there, and no other.

        Numbers of another width are converted. Returns the names that were not in the state, and those that are not in
        the module. Raises ``ValueError`` that lists all that does not fit; nothing is loaded then.
        """
        if not isinstance(state, Mapping):
            raise TypeError(
                f"load_state_dict takes a dict of arrays by name, as state_dict() returns, got {type(state).__name__}: "
                "to read a file, write vg.load_state(net, path)"
            )
        faults, missing, known, fitting = [], [], set(), []
        for paths, array in self.named_arrays():
            known.update(paths)
            given = {path: np.asarray(state[path]) for path in paths if path in state}
            if not given:
                missing.append(paths[0])
                continue
            first, *others = given
            faults += (misfits := [f"{path}: {why}" for path, new in given.items() if (why := _misfit(new, array))])
            if not misfits:
                faults += [
                    f"{path}: shares its array with {first} in the module, and has other numbers in the state"
                    for path in others
                    if not np.array_equal(given[path], given[first], equal_nan=array.dtype.kind in "fc")
                ]
            fitting.append((array, given[first]))
        unexpected = [path for path in state if path not in known]
        if strict:
            faults += [f"{path}: missing from the state" for path in missing]
            faults += [f"{path}: not in the module" for path in unexpected]
        if faults:
            raise ValueError(f"this state does not fit {type(self).__name__}:\n  " + "\n  ".join(faults))
        with np.errstate(all="ignore"):  # it is known to fit, and stays NaN or rounds to 0 where it must
            for array, new in fitting:
                array[...] = new
        return Unmatched(missing, unexpected)

    # --- to look at

    def summary(self, example: Any) -> str:
        """A table of every layer's output shape and number of parameters.

        Args:
            example: the shape of one instance, such as ``(1, 28, 28)``, or a batch to run.
        """
        from vugrad.nn.summary import summary

        return summary(self, example)

    def outline(self) -> Iterator[tuple[int, str, Module]]:
        """Every module with its depth and its path in the one that it is a part of."""
        above = [""]
        for path, module in self.named_modules():
            while not f"{path}.".startswith(above[-1]):
                above.pop()
            yield len(above) - 1, path.removeprefix(above[-1]), module
            above.append(f"{path}." if path else "")

    def __repr__(self) -> str:
        return "\n".join(
            "  " * depth + (f"({name}): " if name else "") + f"{type(module).__name__}({module.extra_repr()})"
            for depth, name, module in self.outline()
        )

    def extra_repr(self) -> str:
        """What ``repr`` says between the parentheses."""
        return ""


def called_the_same(name: str) -> ValueError:
    """The error for two arrays whose paths are the same text."""
    return ValueError(f"two arrays are called {name!r}: keep dict keys apart as text, and free of dots")


def _misfit(new: np.ndarray[Any, Any], own: np.ndarray[Any, Any]) -> str:
    """Why an array cannot be written into a module's own; empty if it can."""
    if not own.flags.writeable:
        return "the module's own array is read-only"
    if new.shape != own.shape:
        return f"shape {new.shape} in the state, {own.shape} in the module"
    if new.dtype == own.dtype:
        return ""
    if not np.can_cast(new.dtype, own.dtype, "same_kind") or (new.dtype.kind == "f") != (own.dtype.kind == "f"):
        return f"{new.dtype} in the state, {own.dtype} in the module"
    with np.errstate(all="ignore"):
        cast = new.astype(own.dtype)
        lost = np.isfinite(new) & ~np.isfinite(cast) if own.dtype.kind in "fc" else cast != new
    return f"{new[lost][0]} in the state, which {own.dtype} in the module cannot hold" if lost.any() else ""


def _members(path: str, value: Any, seen: set[int] | frozenset[int]) -> Iterator[tuple[str, Any]]:
    """``value`` and all it contains, but for what is ``seen``.

    A set is filled on the way, so that each object comes once, however often or deeply it is referred to. A frozen one
    is extended for what lies within each: what is shared comes once for each path, and only circles are cut.
    """
    if isinstance(value, Module | list | tuple | dict | np.ndarray) or _is_parameter(value):
        if id(value) in seen:
            return
        if isinstance(seen, frozenset):
            seen |= {id(value)}
        else:
            seen.add(id(value))
    if isinstance(value, Module | np.ndarray) or _is_parameter(value):
        yield path, value
    if isinstance(value, Module):
        inner = ((name, part) for name, part in vars(value).items() if not name.startswith("_"))
    elif isinstance(value, dict):
        inner = ((str(key), part) for key, part in value.items())
    elif isinstance(value, list | tuple):
        inner = ((str(i), part) for i, part in enumerate(value))
    else:
        return
    for name, part in inner:
        yield from _members(f"{path}.{name}" if path else name, part, seen)


def _as_node(x: Any) -> Any:
    if isinstance(x, TensorNode | np.generic) or not is_array(x):
        return x
    return TensorNode(x, requires_grad=False)


def _is_parameter(value: Any) -> bool:
    return isinstance(value, TensorNode) and value.source is None


def parameter(value: Any, name: str | None = None) -> TensorNode:
    """A leaf node to be trained, its array owned and writable."""
    return TensorNode(np.array(value), name=name)
