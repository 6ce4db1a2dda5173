"""``vg.compile``: a function that is compiled when it is first called, once for each signature."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vugrad.compiler.alike import recorded
from vugrad.compiler.applied import Applied
from vugrad.compiler.machine.interrupt import HeldBack
from vugrad.compiler.plan import Plan
from vugrad.compiler.signature import Outside, of_argument, of_state
from vugrad.compiler.trace import slots, trace, tracing
from vugrad.compiler.trace.standin import CannotCompileError
from vugrad.graph import TensorNode, as_array, is_array
from vugrad.graph.op import is_watched
from vugrad.nn import Module
from vugrad.optim import Optimizer

Array = Any


#: How many plans a function keeps. Each has its own memory, and calls may have any number of batch sizes.
PLANS = 64


class Compiled:
    """A function as native code; see :func:`compile`."""

    def __init__(self, function: Callable[..., Any], state: Sequence[Any], finite: bool) -> None:
        functools.update_wrapper(self, function, updated=())  # the attributes of a module are not taken over
        self.function, self.state, self.finite = function, tuple(state), finite
        self.plans: dict[Any, Plan] = {}
        slots(self.state)  # raises for objects that cannot be state
        self._outside: Outside | None = None

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """The function's result; updates the listed state in place. Inside another compiled function it is inlined."""
        arguments = _by_position(self.function, arguments, keywords) if keywords else arguments
        if is_watched() or tracing.on:
            return self.function(*arguments)
        arguments = tuple(map(_array, arguments))
        plan, key = self._planned(arguments)
        unchanged = functools.partial(self._is_now, key)
        return Applied(self.function, arguments, plan.trace, plan.outputs(*arguments), unchanged).result()

    def plan(self, *arguments: Any) -> Plan:
        """The plan for arguments of these shapes and dtypes, compiled now if it is new."""
        return self._planned(tuple(map(_array, arguments)))[0]

    def _planned(self, arguments: tuple[Any, ...]) -> tuple[Plan, Any]:
        """The plan for arguments, and its key."""
        if self._outside is None:
            self._outside = Outside(self.function, self.state)
        key = given, state, around = tuple(map(of_argument, arguments)), of_state(self.state), self._outside.now()
        plan = self.plans.get(key)
        if plan is None:
            traced = recorded(self.function, arguments, self.state, given)
            held: list[Any] = []
            if of_state(self.state, held) != state:
                raise CannotCompileError(
                    "the function changes a number or a part of its state in Python, as one that counts its calls "
                    "does, which a compiled program does not do again: do it outside of the function, or keep the "
                    "number in an array"
                )
            self._outside.leave_out(around)
            key = given, state, self._outside.now(held)
            plan = self.plans[key] = Plan(traced, self.finite, held)
            for oldest in list(self.plans)[:-PLANS]:
                self.plans.pop(oldest, None)  # if another thread has not done it
        return plan, key

    def _is_now(self, key: Any) -> bool:
        """Whether the state and the values from outside are as they were when a key was made."""
        assert self._outside is not None
        return bool(key[1:] == (of_state(self.state), self._outside.now()))

    def refresh(self, *arguments: Any) -> None:
        """Trace the function for arguments like these, and compile it again if its program has changed.

        Call it when a value that the function reads from outside may have changed unnoticed.
        """
        arguments = tuple(_array(x) for x in arguments)
        plan = self.plan(*arguments)
        now = recorded(self.function, arguments, self.state, tuple(map(of_argument, arguments)))
        if now.fingerprint != plan.trace.fingerprint:
            self.plans = {key: other for key, other in self.plans.items() if other is not plan}
            self.plan(*arguments)

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

        Returns the function's results with a new first axis, the steps; results with a row for each instance of the
        batch are concatenated instead. If ``finite`` ended the epoch, the last loss is the one that is not finite, and
        the other results of that step are meaningless. Ctrl-C ends the epoch after the current step, and is then
        raised.
        """
        if not arrays:
            raise TypeError("run_epoch needs at least one array to pass over: without arrays, call the function itself")
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

    Tracing: for every signature of its arguments the function runs twice on tracers, and its array operations are
    recorded and compiled. It must be array code that uses the arrays' numbers through NumPy only, and it must do the
    same each time: a function that draws random numbers, counts its calls or reads a clock is refused. Checks of the
    arrays' numbers are not part of the program: positions out of range are clamped, and a target that is no class
    contributes no loss. Other effects, such as printing, happen only while it is traced.

    Values from outside: changes of numbers and arrays in the listed objects, and in the variables, defaults and
    attributes that the function reads, are noticed. Changes within an object that it only hands on, and of a few
    numbers in an array of more than 4 KiB, may be missed: call :meth:`Compiled.refresh`, or pass them as arguments.

    Gradients flow through the function; its backward runs op by op. A function that changes its state, such as a
    training step, cannot be differentiated from outside. Gradients that it computes are not stored in the nodes:
    reading one raises. Denormal numbers (below 1.2e-38 in float32) count as 0 on x86, where they would be a hundred
    times slower. A function keeps its compiled code for the last 64 signatures.

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
    if not callable(function):
        raise TypeError(
            f"vg.compile takes a function or a module, and not {type(function).__name__}: write vg.compile(step), and "
            "call what it returns"
        )
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


def _by_position(function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """All arguments of a call in the order of the parameters; ``TypeError`` for a keyword-only argument."""
    bound = inspect.signature(function).bind(*arguments, **keywords)
    if bound.kwargs:
        raise TypeError(
            f"a compiled function takes its arguments by position, and {next(iter(bound.kwargs))!r} can only be given "
            "by name: remove the * or ** before it, or fix it with functools.partial before the function is compiled"
        )
    return bound.args


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
