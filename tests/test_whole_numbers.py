"""Whole numbers and truth values: compiled code and nodes give NumPy's numbers and dtypes, at the extremes too."""

import numpy as np
import pytest

import vugrad as vg

DTYPES = [np.dtype(name) for name in ("bool", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")]
#: Constants that some dtypes cannot hold.
NUMBERS = (-129, -1, 0, 1, 255, 256, 300, 2**31)
LARGE = (-(10**30), 2**63, 2**64, 10**30)
COMPARISONS = (np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal)
OPERATORS = (np.add, np.subtract, np.multiply, np.maximum, np.minimum, np.bitwise_and)
SUMS = {
    "einsum": lambda x: np.einsum("i,i->", x, x),
    "inner": lambda x: np.inner(x, x),
    "dot": lambda x: np.dot(x, x),
    "tensordot": lambda x: np.tensordot(x, x, 1),
    "sum": np.sum,
    "prod": np.prod,
    "cumsum": np.cumsum,
    "norm": np.linalg.norm,
}


def extremes(dtype):
    if dtype.kind == "b":
        return np.array([True, False, True])
    info = np.iinfo(dtype)
    return np.array([info.min, info.max, 0, 1, 2, 3, 7, info.min + 1, info.max // 2], dtype)


def same(found, expected, name):
    found = np.asarray(getattr(found, "value", found))
    assert found.dtype == np.asarray(expected).dtype, name
    if found.dtype.kind == "f":
        np.testing.assert_allclose(found, expected, rtol=1e-12, err_msg=name)
    else:
        np.testing.assert_array_equal(found, expected, err_msg=name)


def held(functions, x):
    """The functions, by name, to which NumPy has an answer; and those at which it raises."""
    answers, errors = {}, {}
    for name, f in functions.items():
        try:
            with np.errstate(all="ignore"):
                answers[name] = f(x)
        except (OverflowError, TypeError, ValueError) as error:
            errors[name] = type(error)
    return answers, errors


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_constants_that_a_dtype_holds_or_not(dtype):
    functions = {}
    for n in NUMBERS + LARGE * (dtype.kind != "b"):
        for f in COMPARISONS if n in LARGE else (*COMPARISONS, *OPERATORS):
            functions[f"{f.__name__}(x, {n})"] = lambda x, f=f, n=n: f(x, n)
            functions[f"{f.__name__}({n}, x)"] = lambda x, f=f, n=n: f(n, x)
    x = extremes(dtype)
    answers, errors = held(functions, x)
    found = vg.compile(lambda x: [functions[name](x) for name in answers])(x)
    for y, (name, expected) in zip(found, answers.items(), strict=True):
        same(y, expected, name)
        if name.partition("(")[0] in {f.__name__ for f in COMPARISONS}:
            same(functions[name](vg.TensorNode(x)), expected, name)
    assert errors or dtype.kind == "b" or dtype.itemsize == 8
    for name, kind in list(errors.items())[:3]:
        with pytest.raises(kind):
            vg.compile(functions[name])(x)


@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
def test_powers_are_exact_and_wrap(dtype):
    x = extremes(dtype)
    functions = {f"x ** {n}": lambda x, n=n: x**n for n in (0, 1, 2, 3, 5, 8)}
    functions["reciprocal"] = lambda x: np.reciprocal(np.where(x == 0, np.ones_like(x), x))
    if dtype.itemsize > 1:  # of a byte it is float16
        functions["exp2"] = lambda x: np.exp2(np.minimum(np.maximum(x, 0), 7) - (x == 7).astype(x.dtype))
    with np.errstate(all="ignore"):
        expected = [f(x) for f in functions.values()]
    for y, name, z in zip(
        vg.compile(lambda x: [f(x) for f in functions.values()])(x), functions, expected, strict=True
    ):
        y = np.asarray(y)
        assert y.dtype == z.dtype
        np.testing.assert_allclose(y, z, rtol=1e-6 if dtype.itemsize == 2 and name == "exp2" else 1e-12, err_msg=name)
    with pytest.raises(ValueError, match=r"not allowed: write x \*\* -1\.0"):
        vg.compile(lambda x: x**-1)(x)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_sums_and_products_have_the_dtype_of_numpy(dtype):
    x = extremes(dtype)[:6]
    for name, f in SUMS.items():
        with np.errstate(all="ignore"):
            expected = f(x)
        same(vg.compile(f)(x), expected, f"compiled {name}")
        same(f(vg.TensorNode(x)), expected, f"{name} of a node")
