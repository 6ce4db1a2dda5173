"""``vg.compile``: a function that is compiled when it is first called, once for each signature."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vugrad.compiler.alike import recorded
from vugrad.compiler.machine.interrupt import HeldBack
from vugrad.compiler.plan import Plan, plain
from vugrad.compiler.trace import NEVER_THE_SAME, slots, trace
from vugrad.compiler.trace.standin import CannotCompileError, Traced
from vugrad.graph import TensorNode, as_array, is_array
from vugrad.graph.op import is_watched
from vugrad.nn import Module
from vugrad.optim import Optimizer

Array = Any


#: How many plans a function keeps: each has memory of its own, and the sizes of batches may be no end of them.
PLANS = 64


class Compiled:
    """A function as native code; see :func:`compile`."""

    def __init__(self, function: Callable[..., Any], state: Sequence[Any], finite: bool) -> None:
        functools.update_wrapper(self, function, updated=())  # the attributes of a module are not taken over
        self.function, self.state, self.finite = function, tuple(state), finite
        self.plans: dict[Any, Plan] = {}
        slots(self.state)  # complains of what cannot be state

    def __call__(self, *arguments: Any) -> Any:
        """The function's result; the listed state is updated in place. In another compiled function, a part of that."""
        if is_watched() or any(isinstance(plain(x), Traced) for x in arguments):
            return self.function(*arguments)
        return self.plan(*arguments).run(*arguments)

    def plan(self, *arguments: Any) -> Plan:
        """The plan for arguments of these shapes and dtypes, compiled now if it is new."""
        arguments = tuple(_array(x) for x in arguments)
        key = (tuple(map(_signature, arguments)), _fingerprint(self.state))
        plan = self.plans.get(key)
        if plan is None:
            traced = recorded(self.function, arguments, self.state, key[0])
            if _fingerprint(self.state) != key[1]:
                raise CannotCompileError(
                    "the function changes a number or a part of its state in Python, as one that counts its calls "
                    "does, which a compiled program does not do again: do it outside of the function, or keep the "
                    "number in an array"
                )
            plan = self.plans[key] = Plan(traced, self.finite)
            for oldest in list(self.plans)[:-PLANS]:
                self.plans.pop(oldest, None)  # if another thread has not done it
        return plan

    def refresh(self, *arguments: Any) -> None:
        """Compile for arguments like these, again if the function does not compute what it did when it was compiled.

        Call it when numbers that the function takes from elsewhere may have changed. Raises :class:`CannotCompileError`
        for a function that never does the same twice: one that draws random numbers, or counts, in Python.
        """
        arguments = tuple(_array(x) for x in arguments)
        plan = self.plan(*arguments)
        for _ in range(2):
            now = recorded(self.function, arguments, self.state, tuple(map(_signature, arguments)))
            if now.fingerprint == plan.trace.fingerprint:
                return
            self.plans = {key: other for key, other in self.plans.items() if other is not plan}
            plan = self.plan(*arguments)
        raise CannotCompileError(NEVER_THE_SAME)

    def explain(self, *arguments: Any, **options: Any) -> str:
        """How these arguments are compiled, floor by floor, and where the time goes; see ``explain/`` for options.

        >>> import numpy as np, vugrad as vg
        >>> f = vg.compile(lambda x: np.exp(-x * x).sum())
        >>> print(f.explain(np.ones(8), floor="arrays"))
        1  What is compiled ...
        """
        arguments = tuple(_array(x) for x in arguments)
        plan = self.plan(*arguments)
        again = trace(self.function, arguments, self.state, origins=True).program  # where everything comes from
        origins = again.origins if len(again.instructions) == len(plan.trace.program.instructions) else None
        name = getattr(self, "__name__", type(self.function).__name__)
        return plan.explain(*arguments, **{"name": name, "origins": origins, **options})

    def run_epoch(
        self,
        *arrays: Array,
        batch_size: int,
        order: Array | None = None,
        rates: Sequence[float] | None = None,
        progress: Callable[[Any], None] | None = None,
    ) -> Any:
        """Pass over whole arrays, batch by batch, in one native call without the interpreter's lock.

        Args:
            arrays: one for each argument of the function, all with the same number of rows.
            batch_size: rows in a batch; the last one may be smaller.
            order: the rows in the order in which they are taken; as they lie if not given.
            rates: a learning rate for every step, in place of the one that the optimizers in the state have.
            progress: called about twenty times a second with the results of the steps done since its last call; when
                the epoch ends, in whatever way, it has had all of them. It must not wait for another thread that runs
                the same function.

        Returns what the function returns with an axis more, the first, for the steps; what has a row for each instance
        of the batch stays so, with the rows of all steps one after the other. If ``finite`` ended the epoch,
        the last of them is the step with the loss that is not finite, and what else it returns is void. Ctrl-C ends the
        epoch after the step at hand, and is raised then.
        """
        n = len(arrays[0])
        order = np.arange(n) if order is None else np.asarray(order)
        _check_epoch(arrays, order, batch_size)
        if rates is not None and len(rates) != -(-len(order) // batch_size):
            raise ValueError(f"{len(rates)} rates for {-(-len(order) // batch_size)} steps: every step needs one")
        whole = len(order) // batch_size * batch_size
        results = []
        holes: Any = None
        done = 0
        with HeldBack() as interrupt:
            for part in (order[:whole], order[whole:]):
                if len(part):
                    size = min(batch_size, len(part))
                    plan = self.plan(*(array[:size] for array in arrays))
                    if interrupt.came:
                        break
                    steps = len(part) // size
                    mine = {} if rates is None else dict.fromkeys(plan.trace.rates(), rates[done : done + steps])
                    tell = None if progress is None else _teller(plan, progress)
                    outputs, made = plan.run_epoch(list(arrays), part, mine, tell)
                    results.append({name: _rows(plan, name, values[: made + 1]) for name, values in outputs.items()})
                    holes = plan.trace
                    done += made
                    if made < steps:
                        break
        if not results:
            return None
        return holes.rebuild({name: _joined([r[name] for r in results]) for name in results[0]})


def compile(function: Callable[..., Any], state: Sequence[Any] | Any = (), finite: bool = False) -> Compiled:
    """A function as native code: array functions, inference, or a whole training step.

    The function is run once, on stand-ins, for every signature of its arguments, and what it does to arrays is recorded
    and compiled. It must be array code that does not depend on the arrays' numbers but through NumPy. What it checks of
    them is not part of the program: positions out of range are kept within it, a class that there is not has no loss.
    What was computed before the call (``w.value * 2`` of an unlisted ``w``) is a constant. Numbers and arrays that
    change are seen where they are in the listed objects themselves, or in lists and dicts of up to 1,000 there; for
    others, as an array in a tuple or an attribute of an object of your own, call :meth:`Compiled.refresh`. Numbers
    below the smallest normal one (1.2e-38 in float32) count as 0 on x86, where they would cost a hundred times as much.
    A function keeps what it has compiled for the last 64 signatures.

    Args:
        function: takes arrays or nodes (their first axis is the batch), returns such, or tuples and dicts of them.
        state: the modules, optimizers and nodes that it uses or changes. A module compiled by itself is its own state.
        finite: for a training step that returns its loss first: stop before the weights are changed by a loss that
            is not finite.

    Raises :class:`CannotCompileError`, at the first call, for what cannot be compiled.

    >>> import numpy as np, vugrad as vg
    >>> f = vg.compile(lambda x: np.exp(-x * x).sum())
    >>> round(float(f(np.linspace(0, 1, 5))), 6)
    3.655876
    >>> model = vg.nn.Linear(3, 2)
    >>> optimizer = vg.optim.SGD(model.parameters(), lr=0.1)
    >>> def step(x, y):
    ...     optimizer.zero_grad()
    ...     loss = vg.losses.cross_entropy(model(x), y)
    ...     loss.backward()
    ...     optimizer.step()
    ...     return loss
    >>> fast = vg.compile(step, state=[model, optimizer])
    >>> x, y = np.eye(3, dtype=np.float32), np.array([0, 1, 1])
    >>> float(fast(x, y)) > float(fast(x, y))
    True
    """
    if isinstance(function, Module) and not state:
        state = [function]
    if isinstance(state, Module | Optimizer | TensorNode):
        state = [state]
    return Compiled(function, state, finite)


def _array(x: Any) -> Any:
    """Lists and other libraries' arrays as NumPy's; nodes, and what is always the same, as they are."""
    if type(x) is np.ndarray:
        return x
    return as_array(x) if type(x) is list or is_array(x) else x


def _signature(x: Any) -> Any:
    if isinstance(x, TensorNode):
        return "node", x.shape, x.dtype.str, x.requires_grad
    if isinstance(x, np.ndarray):
        return x.shape, x.dtype.str
    try:
        hash(x)
    except TypeError:
        raise TypeError(
            "an argument of a compiled function is an array, a node, a list of numbers, or what is always the same, as "
            f"a number or a text is, and not a {type(x).__name__}: pass the arrays in it one by one"
        ) from None
    return type(x), x


def _fingerprint(state: Sequence[Any]) -> Any:
    """What of the state a plan takes for granted: shapes, modes, parts, and all numbers but rates and counts."""
    found: list[Any] = []
    owners, seen = list(state), set(map(id, state))
    for owner in owners:  # which become more
        if isinstance(owner, TensorNode):
            found.append((id(owner), owner.value.shape, owner.value.dtype, owner.requires_grad))
            continue
        of_optimizer = isinstance(owner, Optimizer)
        if of_optimizer or isinstance(owner, Module):
            items: Any = vars(owner).items()
        elif isinstance(owner, dict):
            found += owner
            items = owner.items()
        else:
            items = list(enumerate(owner))
        found.append(len(items))
        for key, value in items:
            kind = type(value)
            if of_optimizer and key in CHANGING:
                found.append(isinstance(value, np.ndarray))
            elif kind in PLAIN:
                found += kind, value if value or kind is not float else str(value)  # which tells 0.0 from -0.0
            elif isinstance(value, TensorNode):
                found.append((id(value), value.value.shape, value.value.dtype, value.requires_grad))
            elif isinstance(value, np.ndarray):
                found.append((value.shape, value.dtype))
            elif isinstance(value, np.generic):
                found += kind, value or str(value)
            else:
                found.append(id(value))
                if id(value) not in seen and (isinstance(value, Module) or _searched(value)):
                    seen.add(id(value))
                    owners.append(value)
    return tuple(found)


def _searched(value: Any) -> bool:
    """Whether parts are looked for in a value, which in long vocabularies would take too long at every call."""
    return isinstance(value, list | tuple | dict) and len(value) <= 1000


#: What changes in an optimizer from call to call without another plan.
CHANGING = {"lr", "initial_lr", "state"}
#: The kinds of what is compared by itself.
PLAIN = {bool, int, float, str, type(None)}


def _check_epoch(arrays: tuple[Array, ...], order: Array, batch_size: int) -> None:
    """Raise for arrays of different lengths, and for positions that are not theirs."""
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: a batch needs at least 1 instance")
    lengths = {len(array) for array in arrays}
    if len(lengths) != 1:
        raise ValueError(
            f"the arrays have {', '.join(str(len(a)) for a in arrays)} rows: every instance needs one of each"
        )
    n = lengths.pop()
    if order.dtype.kind not in "iu" or order.ndim != 1 or (len(order) and not (order.min() >= 0 and order.max() < n)):
        raise ValueError(f"order holds positions of {n} rows, whole numbers from 0 to {n - 1}")


def _teller(plan: Plan, progress: Callable[[Any], None]) -> Callable[[int, dict[str, Array]], None]:
    """From all outputs so far to the results that are new."""
    told = 0

    def tell(done: int, outputs: dict[str, Array]) -> None:
        nonlocal told
        if done > told:
            first, told = told, done
            progress(plan.trace.rebuild({name: values[first:done] for name, values in outputs.items()}))

    return tell


def _rows(plan: Plan, name: str, values: Array) -> Array:
    """The outputs of all steps, row by row where each is one row for each instance."""
    return values.reshape(-1, *values.shape[2:]) if name in plan.lowered.rows else values


def _joined(parts: list[Array]) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
