"""Random array functions on every floor of the compiler. ``python tests/test_compiler_fuzz.py 2000`` tries more,
and so does the environment variable ``VUGRAD_FUZZ=2000`` with pytest.

A function is a list of steps, each a NumPy function of earlier values. Where an answer jumps (a comparison, a rounding,
an argmax) only values that are the same to the last bit on all floors go in; these are called exact.
"""

import math
import os
import sys
import traceback
import warnings

import numpy as np
import pytest
from compiler_floors import MACHINES, assert_same, flat, on_arrays, on_loops
from compiler_kernels import HOST, LESSER

import vugrad as vg
from vugrad.compiler.plan import Plan
from vugrad.compiler.trace import trace
from vugrad.ops import primitives

#: No value has more elements than this, and no contraction more products.
LARGEST, PRODUCTS = 700, 20_000

UNARY = [
    *(np.negative, np.abs, np.tanh, np.sin, np.cos, np.arctan, np.square, primitives.sigmoid, primitives.erf),
    *(lambda x: np.sqrt(np.abs(x) + 0.1), lambda x: np.log(np.abs(x) + 0.5), lambda x: np.exp(-np.abs(x))),
    *(lambda x: np.maximum(0, x), lambda x: 2 * x, lambda x: 1.5 - x, lambda x: x**3, lambda x: x / 3, lambda x: x + 1),
    *(lambda x: np.expm1(-np.abs(x)), lambda x: np.log1p(np.square(x)), lambda x: np.clip(x, -1, 1)),
    *(lambda x: (np.abs(x) + 0.5) ** 0.5, lambda x: (np.abs(x) + 0.5) ** -1.5, lambda x: np.zeros_like(x), np.copy),
]
BINARY = [
    *(np.add, np.subtract, np.multiply, np.maximum, np.minimum, np.add, np.multiply),
    *(lambda x, y: x / (1 + np.abs(y)), lambda x, y: x - 2 * y, lambda x, y: (np.abs(x) + 0.5) ** np.tanh(y)),
]
COMPARISONS = [np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal]
WHOLE = [np.add, np.subtract, np.multiply, np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.maximum, np.minimum]
JUMPS = [np.sign, np.floor, np.ceil, np.rint, np.trunc, lambda x: np.where(np.isfinite(x), x, 0)]


class Function:
    """A random function of ``arguments``, which may also change nodes, its state."""

    def __init__(self, seed):
        self.rng = rng = np.random.default_rng(seed)
        self.steps, self.outputs = [], []
        n = int(rng.choice([1, 2, 3, 4, 5, 8, 16, 17, 37]))
        self.double = rng.random() < 0.7
        self.arguments = [self.drawn(n if i == 0 or rng.random() < 0.5 else None) for i in range(rng.integers(1, 4))]
        self.states = [self.drawn() for _ in range(rng.choice([0, 0, 1, 2]))]
        self.nodes = [vg.TensorNode(x.copy(), name=f"p{i}") for i, x in enumerate(self.states)]
        self.values = [*self.arguments, *self.states]
        self.exact = [True] * len(self.values)
        for _ in range(rng.integers(3, 14)):
            self.extend()
        last = range(max(0, len(self.values) - 5), len(self.values))
        self.outputs = sorted({int(i) for i in rng.choice(last, rng.integers(1, 4))})
        self.written = [self.fitting(x) for x in self.states]

    def drawn(self, n=None):
        """An input: for each of n instances, or for all of them; seldom of whole numbers."""
        rng = self.rng
        shape = (*(() if n is None else (n,)), *rng.integers(1, 6, rng.integers(0, 3)).tolist())
        while math.prod(shape) > 400:
            shape = shape[:-1]
        kind = rng.random()
        if kind < 0.15:
            return rng.integers(-3, 4, shape).astype(rng.choice(["int64", "int32"]))
        if kind < 0.2:
            return rng.integers(0, 256, shape).astype("uint8")
        return rng.normal(size=shape).astype("float64" if self.double else "float32")

    def fitting(self, x):
        """A value that may be written into a state like ``x``, preferably a late one."""
        found = [i for i, y in enumerate(self.values) if (y.shape, y.dtype) == (x.shape, x.dtype)]
        return found[-1] if self.rng.random() < 0.8 else int(self.rng.choice(found))

    def __call__(self, *arguments):
        values = [*arguments, *(node.value for node in self.nodes)]
        for function, operands in self.steps:
            values.append(function(*(values[i] for i in operands)))
        for node, i in zip(self.nodes, self.written, strict=True):
            node.value = values[i]
        return [values[i] for i in self.outputs]

    def extend(self):
        """One step more, if the first one that comes to mind fits what there is."""
        for _ in range(20):
            makers = [getattr(self, name) for name in dir(self) if name.startswith("step_")]
            made = makers[self.rng.integers(len(makers))]()
            if made is None:
                continue
            function, operands, exact = made
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                value = np.asarray(function(*(self.values[i] for i in operands)))
            if value.size > LARGEST or value.ndim > 6 or not np.all(np.isfinite(value)):
                continue
            if value.dtype.kind == "f" and np.max(np.abs(value), initial=0) > 50:
                function, value, exact = squashed(function), np.tanh(value), False
            self.steps.append((function, operands))
            self.values.append(value)
            self.exact.append(exact and all(self.exact[i] for i in operands))
            return

    def pick(self, accept=lambda x: True, exact=False):
        """The position of a value that will do, the later the likelier."""
        found = [i for i, x in enumerate(self.values) if accept(x) and (self.exact[i] or not exact)]
        return found[int(len(found) * self.rng.random() ** 0.5)] if found else None

    def floats(self, x):
        return x.dtype.kind == "f"

    # --- element by element

    def step_unary(self):
        i = self.pick(self.floats)
        return i if i is None else (UNARY[self.rng.integers(len(UNARY))], [i], False)

    step_unary_again = step_unary

    def step_binary(self):
        i = self.pick(self.floats)
        j = None if i is None else self.pick(lambda y: y.dtype.itemsize >= 4 and fits(self.values[i], y))
        return None if j is None else (BINARY[self.rng.integers(len(BINARY))], self.rng.permutation([i, j]), False)

    step_binary_again = step_binary

    def step_comparison(self):
        i = self.pick(exact=True)
        j = None if i is None else self.pick(lambda y: fits(self.values[i], y), exact=True)
        return None if j is None else (COMPARISONS[self.rng.integers(len(COMPARISONS))], [i, j], True)

    def step_jump(self):
        i = self.pick(self.floats, exact=True)
        return None if i is None else (JUMPS[self.rng.integers(len(JUMPS))], [i], True)

    def step_where(self):
        c = self.pick(lambda x: x.dtype.kind == "b")
        i = None if c is None else self.pick(lambda x: fits(self.values[c], x))
        j = None if i is None else self.pick(lambda x: fits(self.values[c], self.values[i], x))
        return None if j is None else (np.where, [c, i, j], True)

    def step_whole(self):
        i = self.pick(lambda x: x.dtype.kind in "iu")
        j = None if i is None else self.pick(lambda y: y.dtype.kind in "iu" and fits(self.values[i], y))
        if j is None or {self.values[k].dtype.kind for k in (i, j)} == {"i", "u"}:
            return None
        return WHOLE[self.rng.integers(len(WHOLE))], [i, j], True

    def step_cast(self):
        i = self.pick(exact=True)
        dtype = self.rng.choice(["float32", "float64", "int64", "int32", "bool"])
        return (lambda x: x.astype(dtype)), [i], True

    def step_square_of_a_shared_value(self):
        i = self.pick(self.floats)
        return None if i is None else ((lambda x: np.tanh(x) * (1 - np.tanh(x)) + x), [i], False)

    # --- reductions

    def axes(self, x):
        count = self.rng.integers(1, x.ndim + 1)
        chosen = tuple(int(a) for a in self.rng.permutation(x.ndim)[:count])
        return None if self.rng.random() < 0.15 else chosen

    def step_reduce(self):
        i = self.pick(lambda x: x.ndim and x.size and x.dtype.kind == "f")
        if i is None:
            return None
        axes, keep = self.axes(self.values[i]), bool(self.rng.random() < 0.5)
        function = [np.sum, np.mean, np.max, np.min, np.var, np.sum][self.rng.integers(6)]
        return (lambda x: function(x, axis=axes, keepdims=keep)), [i], function in (np.max, np.min)

    step_reduce_again = step_reduce

    def step_whole_reduce(self):
        i = self.pick(lambda x: x.ndim and x.size and x.dtype.kind in "iub")
        if i is None:
            return None
        axes = self.axes(self.values[i])
        choices = [np.any, np.all] if self.values[i].dtype.kind == "b" else [np.sum, np.max, np.min]
        function = choices[self.rng.integers(len(choices))]
        return (lambda x: function(x, axis=axes)), [i], True

    def step_argmax(self):
        i = self.pick(lambda x: x.ndim and x.size and x.dtype.kind in "fiu", exact=True)
        if i is None:
            return None
        axis = int(self.rng.integers(self.values[i].ndim))
        function = [np.argmax, np.argmin][self.rng.integers(2)]
        return (lambda x: function(x, axis=axis)), [i], True

    def step_cumsum(self):
        i = self.pick(lambda x: x.ndim and x.dtype.kind == "f")
        if i is None:
            return None
        axis = int(self.rng.integers(self.values[i].ndim))
        return (lambda x: np.cumsum(x, axis=axis)), [i], False

    # --- movement

    def step_reshape(self):
        i = self.pick()
        n, shape = self.values[i].size, []
        while n > 1 and len(shape) < 4:
            divisors = [d for d in range(1, n + 1) if n % d == 0]
            shape.append(int(self.rng.choice(divisors)))
            n //= shape[-1]
        shape = tuple(self.rng.permutation([*shape, n]).tolist())
        return (lambda x: np.reshape(x, shape)), [i], True

    def step_flatten_instances(self):
        i = self.pick(lambda x: x.ndim > 1 and x.size)
        return None if i is None else ((lambda x: np.reshape(x, (x.shape[0], -1))), [i], True)

    def step_transpose(self):
        i = self.pick(lambda x: x.ndim > 1)
        if i is None:
            return None
        axes = tuple(self.rng.permutation(self.values[i].ndim).tolist())
        return (lambda x: np.transpose(x, axes)), [i], True

    def step_broadcast(self):
        i = self.pick()
        x = self.values[i]
        shape = [int(self.rng.integers(1, 4)) if n == 1 else n for n in x.shape]
        shape = [*self.rng.integers(1, 4, self.rng.integers(0, 2)).tolist(), *shape]
        return (lambda x: np.broadcast_to(x, tuple(shape))), [i], True

    def step_slice(self):
        i = self.pick(lambda x: x.ndim)
        if i is None:
            return None
        index = []
        for n in self.values[i].shape:
            if (kind := self.rng.random()) < 0.4:
                index.append(slice(None))
            elif kind < 0.5:
                index.append(int(self.rng.integers(-n, n)) if n else slice(None))
            else:
                a, b = (int(k) for k in np.sort(self.rng.integers(0, n + 1, 2)))
                step = int(self.rng.integers(1, 3))
                index.append(slice(a, max(b, a + 1), step) if kind < 0.8 else slice(None, None, -step))
        if self.rng.random() < 0.2:
            index.insert(self.rng.integers(len(index) + 1), None)
        return (lambda x: x[tuple(index)]), [i], True

    step_slice_again = step_slice

    def step_concatenate(self):
        i = self.pick(lambda x: x.ndim)
        if i is None:
            return None
        axis = int(self.rng.integers(self.values[i].ndim))
        rest = np.delete(self.values[i].shape, axis).tolist()
        alike = lambda y: y.ndim > axis and np.delete(y.shape, axis).tolist() == rest  # noqa: E731
        others = [self.pick(alike) for _ in range(self.rng.integers(1, 3))]
        return (lambda *xs: np.concatenate(xs, axis=axis)), [i, *others], True

    def step_stack(self):
        i = self.pick()
        axis = int(self.rng.integers(self.values[i].ndim + 1))
        j = self.pick(lambda y: y.shape == self.values[i].shape)
        return (lambda *xs: np.stack(xs, axis=axis)), [i, j], True

    def step_pad(self):
        i = self.pick(lambda x: x.ndim)
        if i is None:
            return None
        widths = [tuple(self.rng.integers(0, 3, 2).tolist()) for _ in self.values[i].shape]
        fill = int(self.rng.integers(0, 2))
        return (lambda x: np.pad(x, widths, constant_values=fill)), [i], True

    def step_repeat(self):
        i = self.pick(lambda x: x.ndim)
        if i is None:
            return None
        axis = int(self.rng.integers(self.values[i].ndim))
        counts = self.rng.integers(1, 3, self.values[i].shape[axis])
        times = counts if self.rng.random() < 0.5 else 2
        return (lambda x: np.repeat(x, times, axis=axis)), [i], True

    # --- windows

    def step_unfold(self):
        i = self.pick(lambda x: 2 <= x.ndim <= 4 and min(x.shape[-2:]) > 1)
        if i is None:
            return None
        kernel = tuple(int(self.rng.integers(1, min(n, 3) + 1)) for n in self.values[i].shape[-2:])
        stride = tuple(self.rng.integers(1, 4, 2).tolist())
        return (lambda x: primitives.unfold(x, kernel, stride)), [i], True

    def step_fold(self):
        i = self.pick(lambda x: x.ndim >= 4 and x.size and x.dtype.kind == "f")
        if i is None:
            return None
        *_, rows, columns, kh, kw = self.values[i].shape
        stride = tuple(self.rng.integers(1, 4, 2).tolist())
        size = tuple(
            (n - 1) * s + k + int(self.rng.integers(0, 3))
            for n, k, s in zip((rows, columns), (kh, kw), stride, strict=True)
        )
        return (lambda x: primitives.fold(x, size, stride)), [i], False

    step_fold_again = step_fold

    def step_window_sum(self):
        i = self.pick(lambda x: 2 <= x.ndim <= 4 and min(x.shape[-2:]) > 1 and x.dtype.kind == "f")
        if i is None:
            return None
        how = [np.max, np.sum][self.rng.integers(2)]
        stride = tuple(self.rng.integers(1, 3, 2).tolist())
        return (lambda x: how(primitives.unfold(x, (2, 2), stride), axis=(-2, -1))), [i], how is np.max

    # --- contractions

    def step_einsum(self):
        i, j = self.pick(self.floats), self.pick(self.floats)
        if i is None:
            return None
        x, y = self.values[i], self.values[j]
        letters = iter("abcdefghijklmn")
        left = [(next(letters), n) for n in x.shape]
        right, free = [], list(left)
        for n in y.shape:
            same = [pair for pair in free if pair[1] == n]
            if same and self.rng.random() < 0.7:
                right.append(same[self.rng.integers(len(same))])
                free.remove(right[-1])
            else:
                right.append((next(letters), n))
        extents = dict(left + right)
        if math.prod(extents.values()) > PRODUCTS:
            return None
        kept = [c for c in extents if self.rng.random() < 0.5]
        output = "".join(self.rng.permutation(kept)) if kept else ""
        text = f"{''.join(c for c, _ in left)},{''.join(c for c, _ in right)}->{output}"
        return (lambda x, y: np.einsum(text, x, y)), [i, j], False

    step_einsum_again = step_einsum

    def step_matmul(self):
        i = self.pick(lambda x: x.ndim and x.dtype.kind == "f")
        if i is None:
            return None
        n = self.values[i].shape[-1]
        j = self.pick(lambda y: 1 <= y.ndim <= 2 and y.shape[0] == n and y.dtype.kind == "f")
        if j is None or self.values[i].size * self.values[j].size // max(n, 1) > PRODUCTS:
            return None
        return np.matmul, [i, j], False

    def step_linear(self):
        """A layer: x @ wᵀ, with a w from the values or a constant one."""
        i = self.pick(lambda x: x.ndim == 2 and x.dtype.kind == "f")
        if i is None:
            return None
        n = self.values[i].shape[-1]
        w = self.rng.normal(size=(int(self.rng.integers(1, 6)), n)).astype(self.values[i].dtype)
        return (lambda x: x @ w.T), [i], False

    # --- indexing

    def step_take(self):
        i = self.pick(lambda x: x.ndim and min(x.shape))
        if i is None:
            return None
        axis = int(self.rng.integers(self.values[i].ndim))
        n = self.values[i].shape[axis]
        where = self.rng.integers(-n, n, self.rng.integers(1, 4, self.rng.integers(0, 3)))
        return (lambda x: np.take(x, where, axis=axis)), [i], True

    def step_take_by_values(self):
        j = self.pick(lambda x: x.dtype.kind == "i" and x.size < 40, exact=True)
        i = self.pick(lambda x: x.ndim and min(x.shape))
        if j is None or i is None:
            return None
        axis = int(self.rng.integers(self.values[i].ndim))
        n = self.values[i].shape[axis]
        return (lambda x, k: np.take(x, np.minimum(np.maximum(k, -n), n - 1), axis=axis)), [i, j], True

    def step_pairs(self):
        i = self.pick(lambda x: x.ndim >= 2 and min(x.shape))
        if i is None:
            return None
        a, b = sorted(self.rng.permutation(self.values[i].ndim)[:2].tolist())
        index = [slice(None)] * self.values[i].ndim
        count = int(self.rng.integers(1, 5))
        for axis in (a, b):
            index[axis] = self.rng.integers(self.values[i].shape[axis], size=count)
        return (lambda x: x[tuple(index)]), [i], True

    def step_scatter(self):
        i = self.pick(lambda x: x.ndim and x.dtype.kind == "f")
        if i is None:
            return None
        n = self.values[i].shape[0]
        m = int(self.rng.integers(1, 6))
        where = self.rng.integers(m, size=n)
        rest = self.values[i].shape[1:]
        return (lambda x: primitives.scatter(x, where, (m, *rest))), [i], False

    def step_scatter_rows(self):
        i = self.pick(lambda x: x.ndim >= 2 and x.dtype.kind == "f")
        if i is None:
            return None
        n, m = self.values[i].shape[:2]
        where = (np.arange(n)[:, None], self.rng.integers(0, m + 2, (n, m)))
        rest = self.values[i].shape[2:]
        return (lambda x: primitives.scatter(x, where, (n, m + 2, *rest))), [i], False

    def step_along_axis(self):
        i = self.pick(lambda x: x.ndim >= 1 and min(x.shape))
        if i is None:
            return None
        shape, axis = list(self.values[i].shape), int(self.rng.integers(self.values[i].ndim))
        n, shape[axis] = shape[axis], int(self.rng.integers(1, 4))
        where = self.rng.integers(n, size=shape)
        return (lambda x: np.take_along_axis(x, where, axis=axis)), [i], True


def squashed(function):
    """The hyperbolic tangent of what a function gives."""
    return lambda *xs: np.tanh(function(*xs))


def fits(*xs):
    """Whether arrays broadcast."""
    try:
        return math.prod(np.broadcast_shapes(*(x.shape for x in xs))) <= LARGEST
    except ValueError:
        return False


def compare(f, targets=(HOST,)):
    """All floors give what NumPy gives, native code for each target, for the outputs and for the state."""
    tolerance = 1e-9 if f.double and all(v.dtype != np.float32 for v in f.values) else 2e-3
    arguments = f.arguments

    def reset():
        for node, x in zip(f.nodes, f.states, strict=True):
            node.value = x.copy()

    def changed(results, traced):
        return [results[slot.name] if slot.name in results else np.array(slot.get()) for slot in traced.slots]

    reset()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        expected = [*flat(f(*arguments)), *[np.array(node.value) for node in f.nodes]]
    reset()
    traced = trace(f, tuple(arguments), tuple(f.nodes))
    results = on_arrays(traced, arguments)
    assert_same(expected, [*flat(traced.rebuild(results)), *changed(results, traced)], tolerance, "arrays")
    machine = MACHINES[len(f.steps) % 3]
    results = on_loops(traced, arguments, machine, mend=True)
    assert_same(expected, [*flat(traced.rebuild(results)), *changed(results, traced)], tolerance, f"loops, {machine}")
    for target in targets:
        reset()
        os.environ["VUGRAD_TARGET"] = target
        found = flat(Plan(traced).run(*arguments))
        assert_same(expected, [*found, *[node.value for node in f.nodes]], tolerance, f"native code for {target}")
    reset()


@pytest.mark.parametrize("seed", [41305, 62259])
def test_programs_of_which_not_all_can_be_proved(seed, monkeypatch):
    monkeypatch.setenv("VUGRAD_TARGET", HOST)
    with np.errstate(all="ignore"):
        f = Function(seed)
    compare(f)


@pytest.mark.parametrize("begin", range(0, int(os.environ.get("VUGRAD_FUZZ", "400")), 20))
def test_random_functions_are_the_same_on_every_floor(begin, monkeypatch):
    monkeypatch.setenv("VUGRAD_CACHE", "")
    monkeypatch.setenv("VUGRAD_TARGET", HOST)
    for seed in range(begin, begin + 20):
        with np.errstate(all="ignore"):
            f = Function(seed)
        try:
            compare(f, [HOST, *LESSER[seed // 4 % 2 :][:1]] if seed % 4 == 0 else [HOST])
        except Exception as error:
            raise AssertionError(f"python tests/test_compiler_fuzz.py 1 {seed} shows what is wrong") from error


def main():
    """Try so many functions, from a seed on; of each that fails, show the smallest part that does."""
    os.environ["VUGRAD_CACHE"] = ""
    np.seterr(all="ignore")
    count, begin = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    failed = 0
    for seed in range(begin, begin + count):
        f = Function(seed)
        try:
            compare(f)
        except Exception as error:
            failed += 1
            print(f"seed {seed}: {type(error).__name__} {str(error).strip()[:300]}", flush=True)
            if count == 1:
                smallest(f)
    print(f"{failed} of {count} failed")
    sys.exit(failed > 0)


def smallest(f):
    """Print the first value of a function that is wrong by itself, or else all of it."""
    written, outputs, nodes, states = f.written, f.outputs, f.nodes, f.states
    steps = f.steps
    f.written, f.nodes, f.arguments, f.states = [], [], f.arguments + states, []
    for i in range(len(f.arguments), len(f.values)):
        f.outputs, f.steps = [i], steps[: i + 1 - len(f.arguments)]
        try:
            compare(f)
        except Exception:
            break
    else:
        f.steps, f.outputs, f.written, f.nodes, f.states = steps, outputs, written, nodes, states
        f.arguments = f.arguments[: len(f.arguments) - len(states)]
    print(trace(f, tuple(f.arguments), tuple(f.nodes)).program)
    try:
        compare(f)
    except Exception:
        traceback.print_exc()


if __name__ == "__main__":
    main()
