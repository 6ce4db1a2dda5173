"""The comparison that every gradient must pass: central finite differences, in float64."""

import numpy as np

STEP = 1e-5  # the error of a central difference, step²/6 · f''' + eps/step, is about 1e-11 at this step


def assert_derivative(f, xs, gradients, rng, elementwise=True):
    """Check the gradients of ``f``, a number of several arrays: along random directions, then element by element."""
    assert [np.shape(g) for g in gradients] == [np.shape(x) for x in xs]
    for _ in range(2):
        vs = [rng.normal(size=np.shape(x)) for x in xs]
        expected = along(f, xs, vs)
        np.testing.assert_allclose(sum(np.sum(g * v) for g, v in zip(gradients, vs, strict=True)), expected, 1e-6, 1e-7)
    if not elementwise:
        return
    for i, (x, g) in enumerate(zip(xs, gradients, strict=True)):
        for at in np.ndindex(*np.shape(x)):
            vs = [np.zeros(np.shape(other)) for other in xs]
            vs[i][at] = 1
            np.testing.assert_allclose(np.asarray(g)[at], along(f, xs, vs), 1e-6, 1e-7, err_msg=f"input {i} at {at}")


def along(f, xs, vs, step=STEP):
    """The derivative of ``f`` in the direction ``vs``."""
    ahead = f(*(x + step * v for x, v in zip(xs, vs, strict=True)))
    behind = f(*(x - step * v for x, v in zip(xs, vs, strict=True)))
    return (ahead - behind) / (2 * step)


def jacobian(f, x, step=STEP):
    """The derivative of every element of ``f(x)`` by every element of ``x``: shape ``f(x).shape + x.shape``."""
    x = np.asarray(x, np.float64)
    columns = [along(f, [x], [unit.reshape(x.shape)], step) for unit in np.eye(x.size)]
    return np.moveaxis(np.array(columns), 0, -1).reshape(np.shape(columns[0]) + x.shape)
