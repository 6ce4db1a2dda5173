"""No false alarm: random functions at random shapes. ``python tests/test_check_fuzz.py 10000`` tries more."""

import collections
import os
import sys

import numpy as np
from hypothesis import given, settings, strategies as st

import vugrad as vg
from vugrad.check.compare import gradcheck

UNARY = [
    *(np.exp, np.sin, np.tanh, np.square, np.negative, np.arctan, vg.sigmoid, vg.gelu, vg.softplus, vg.silu),
    *(lambda x: np.log(np.abs(x) + 0.5), lambda x: np.sqrt(np.square(x) + 0.1), lambda x: (np.abs(x) + 0.5) ** -1.5),
    *(np.abs, vg.relu, vg.leaky_relu, vg.elu, lambda x: np.maximum(x, 0.1), lambda x: np.clip(x, -1, 1)),
    *(lambda x: x.T, lambda x: x.reshape(-1), lambda x: x[::-1] if x.ndim else x, lambda x: x[..., None]),
    *(lambda x: 3 - 2 * x, lambda x: 1 / (1 + x * x), lambda x: np.where(x > 0.1, x, x * x)),
]
BINARY = [
    *(np.add, np.subtract, np.multiply, np.maximum, np.minimum, lambda x, y: x / (1 + np.square(y))),
    *(lambda x, y: (np.abs(x) + 0.5) ** np.tanh(y), lambda x, y: np.matmul(x[..., None, :], y[..., :, None])),
    *(lambda x, y: np.stack([x, y]), lambda x, y: np.concatenate([x.reshape(-1), y.reshape(-1)])),
]
REDUCING = [np.sum, np.mean, np.max, np.min, np.var, vg.logsumexp, vg.log_softmax]


def random_function(seed):
    """A function of one to three nodes and its inputs, with axes of extent 0 and 1 among theirs."""
    rng = np.random.default_rng(seed)
    whole = tuple(int(n) for n in rng.choice([0, 1, 1, 2, 3, 3, 4], rng.integers(0, 4)))
    inputs = []
    for _ in range(rng.integers(1, 4)):
        shape = tuple(1 if rng.random() < 0.2 else n for n in whole)[int(rng.integers(0, len(whole) + 1)) :]
        inputs.append(rng.normal(size=shape if rng.random() < 0.5 else whole))
    steps = [
        (int(rng.integers(3)), int(rng.integers(100)), rng.integers(100, size=3)) for _ in range(rng.integers(1, 6))
    ]

    def f(*nodes):
        values = list(nodes)
        for kind, which, picks in steps:
            x, y = (values[p % len(values)] for p in picks[:2])
            if kind == 2 and x.ndim and x.value.size:
                axis = int(picks[2]) % x.ndim
                values.append(REDUCING[which % len(REDUCING)](x, axis=axis))
            elif kind == 1 and x.shape == y.shape and x.ndim:
                values.append(BINARY[which % len(BINARY)](x, y))
            elif kind == 1:
                try:
                    values.append(BINARY[which % 7](x, y))
                except ValueError:  # they do not broadcast
                    continue
            else:
                values.append(UNARY[which % len(UNARY)](x))
        return values[-1] if len(values) > len(nodes) else np.exp(values[-1])

    return f, inputs


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=int(os.environ.get("VUGRAD_FUZZ", "100")), deadline=None, derandomize=True)
def test_no_false_alarm(seed):
    f, inputs = random_function(seed)
    report = gradcheck(f, *inputs, seed=seed)
    assert report.status != "wrong", report


def main():
    """Count what comes out of many."""
    count, begin = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    found = collections.Counter()
    for seed in range(begin, begin + count):
        f, inputs = random_function(seed)
        report = gradcheck(f, *inputs, seed=seed)
        found[report.status] += 1
        if not report:
            print(f"seed {seed}: {report}", flush=True)
    print(dict(found))
    sys.exit(found["wrong"] > 0)


if __name__ == "__main__":
    main()
