"""The functions of compiled kernels, run on this processor and lesser ones, and held against longer arithmetic."""

import ctypes
import math

import numpy as np
import pytest
from compiler_kernels import HOST, LESSER
from numpy.polynomial import chebyshev, polynomial
from scipy import special

from vugrad.compiler.emit import functions
from vugrad.compiler.emit.functions import FUNCTIONS, define, symbol
from vugrad.compiler.machine import llvm

DTYPES = {"f32": np.float32, "f64": np.float64}
LANES = (1, 16)
LONG = np.longdouble

# --- The harness: one module with a loop over arrays for each function

LOOP = """
define void @run_{symbol}(ptr %xs, ptr %ys, ptr %zs, i64 %n) {{
entry:
  br label %body
body:
  %i = phi i64 [ 0, %entry ], [ %j, %body ]
  %px = getelementptr {element}, ptr %xs, i64 %i
  %py = getelementptr {element}, ptr %ys, i64 %i
  %pz = getelementptr {element}, ptr %zs, i64 %i
  %x = load {type}, ptr %px, align 4
  %y = load {type}, ptr %py, align 4
  %z = call {type} @{symbol}({arguments})
  store {type} %z, ptr %pz, align 4
  %j = add i64 %i, {lanes}
  %more = icmp ult i64 %j, %n
  br i1 %more, label %body, label %done
done:
  ret void
}}
"""


def module_of(cases):
    """The text of a module with a loop for each (name, kind, lanes)."""
    texts, declarations = [], {}
    for name, kind, lanes in cases:
        element = {"f32": "float", "f64": "double"}[kind]
        type_ = element if lanes == 1 else f"<{lanes} x {element}>"
        arguments = f"{type_} %x, {type_} %y" if name == "pow" else f"{type_} %x"
        text, needed = define(name, kind, lanes)
        loop = LOOP.format(
            symbol=symbol(name, kind, lanes), element=element, type=type_, lanes=lanes, arguments=arguments
        )
        texts += [text, loop]
        declarations |= dict.fromkeys(needed)
    return "\n".join([*declarations, *texts])


class Machine:
    """Compiled loops, called by name, kind and lanes."""

    def __init__(self, cases):
        target = llvm.host()
        self.code = llvm.Code(llvm.compile_text(module_of(cases), target), target)

    def __call__(self, name, kind, lanes, x, y=None):
        """The function of arrays, padded with ones to whole vectors."""
        address = self.code.address(f"run_{symbol(name, kind, lanes)}")
        loop = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(address)
        n = len(x)
        x, y = (np.append(a, np.ones(-n % lanes)).astype(DTYPES[kind]) for a in (x, x if y is None else y))
        z = np.empty_like(x)
        loop(x.ctypes.data, y.ctypes.data, z.ctypes.data, len(x))
        return z[:n]


@pytest.fixture(scope="module", params=[HOST, *LESSER])
def machine(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VUGRAD_TARGET", request.param)
        machine = Machine([(name, kind, lanes) for name in FUNCTIONS for kind in DTYPES for lanes in LANES])
    machine.step = 1 if request.param == HOST else 23  # of the values, each so many is looked at
    return machine


# --- Values


def signed(low, high, count):
    """From −high to −low and low to high, by equal ratios."""
    x = np.geomspace(low, high, count)
    return np.concatenate([-x, x])


def exponents(kind):
    """Where exp neither overflows nor ends, and more closely where it is near 1."""
    info = np.finfo(DTYPES[kind])
    return np.concatenate(
        [
            np.linspace(math.log(info.tiny) - 20, math.log(info.max) * (1 - 1e-6), 50_000),
            np.linspace(-20, 20, 50_000),
            np.linspace(-1, 1, 50_000),
            signed(float(info.tiny) * 4, 1, 5_000),
        ]
    )


def positives(kind):
    info = np.finfo(DTYPES[kind])
    return np.concatenate(
        [
            np.geomspace(float(info.tiny), float(info.max) / 2, 50_000),
            [float(info.max)],
            np.linspace(0.3, 3, 50_000),
            1 + signed(1e-12, 1e-2, 5_000),
            float(info.smallest_subnormal) * np.arange(1, 1000),
        ]
    )


def above_minus_one(kind):
    info = np.finfo(DTYPES[kind])
    return np.concatenate(
        [
            signed(float(info.tiny), 0.999, 25_000),
            np.linspace(-0.99, 3, 50_000),
            np.geomspace(1, float(info.max) / 2, 20_000),
            [float(info.max)],
        ]
    )


def angles(kind):
    """Also the numbers next to multiples of π/2, where all but the last bits cancel; and beyond the polynomials."""
    zeros = (np.arange(-60_000, 60_000, 3) * LONG(np.pi) / 2).astype(DTYPES[kind])
    return np.concatenate(
        [np.linspace(-10, 10, 50_000), np.linspace(-1.1e5, 1.1e5, 50_000), zeros, signed(1e-30, 1e30, 1_000)]
    )


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def erf(x):
    return special.erf(np.float64(x)).astype(LONG)


# Function, values of its argument, and the greatest relative error in f32 and f64: the figures of the module.
ROWS = {
    "exp": (np.exp, exponents, 0.8e-7, 1.5e-16),
    "expm1": (np.expm1, exponents, 1.2e-7, 2.5e-16),
    "sigmoid": (sigmoid, exponents, 1.6e-7, 2.7e-16),
    "tanh": (np.tanh, exponents, 1.8e-7, 3.8e-16),
    "erf": (erf, exponents, 2.6e-7, 13e-16),
    "log": (np.log, positives, 0.9e-7, 2.4e-16),
    "log2": (np.log2, positives, 1.3e-7, 2.6e-16),
    "log10": (np.log10, positives, 1.3e-7, 2.8e-16),
    "log1p": (np.log1p, above_minus_one, 1.3e-7, 2.7e-16),
    "sin": (np.sin, angles, 2.1e-7, 2.8e-16),
    "cos": (np.cos, angles, 2.1e-7, 2.8e-16),
    "tan": (np.tan, angles, 2e-7, 4e-16),
    "arcsin": (np.arcsin, lambda kind: np.linspace(-1, 1, 1_001), 2e-7, 4e-16),
    "arccos": (np.arccos, lambda kind: np.linspace(-1, 1, 1_001), 2e-7, 4e-16),
    "arctan": (np.arctan, lambda kind: np.linspace(-50, 50, 1_001), 2e-7, 4e-16),
    "sinh": (np.sinh, lambda kind: np.linspace(-80, 80, 1_001), 3e-7, 5e-16),
    "cosh": (np.cosh, lambda kind: np.linspace(-80, 80, 1_001), 3e-7, 5e-16),
}


def test_every_function_has_a_row():
    assert set(ROWS) | {"pow"} == set(FUNCTIONS)


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("name", ROWS)
def test_values(machine, name, kind):
    for lanes in LANES:
        check_values(machine, name, kind, lanes)


def check_values(machine, name, kind, lanes):
    """The error of a function's values is within its bound."""
    reference, arguments, *bounds = ROWS[name]
    dtype = DTYPES[kind]
    info = np.finfo(dtype)
    x = arguments(kind).astype(dtype)[:: machine.step]
    with np.errstate(over="ignore", under="ignore"):
        want = reference(x.astype(LONG))
        error = np.abs(machine(name, kind, lanes, x) - want)
    # Results that are not normal numbers may be flushed to zero.
    allowed = np.maximum(bounds[kind == "f64"] * np.abs(want), float(info.tiny) * (np.abs(want) < float(info.tiny)))
    worst = np.argmax(error / np.maximum(allowed, float(info.smallest_subnormal)))
    assert np.all(error <= allowed), f"{name}({x[worst]!r}) is {want[worst]} but for {error[worst] / abs(want[worst])}"


@pytest.mark.parametrize(("kind", "bound"), [("f32", 1e-7), ("f64", 5e-16)])
def test_erf_is_scipys(machine, kind, bound):
    x = np.linspace(-7, 7, 20_001).astype(DTYPES[kind])
    np.testing.assert_allclose(machine("erf", kind, 16, x), special.erf(np.float64(x)), rtol=0, atol=bound)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("kind", DTYPES)
def test_pow_takes_two(machine, kind, lanes):
    x, y = (a.ravel().astype(DTYPES[kind]) for a in np.meshgrid(np.linspace(0.1, 5, 37), np.linspace(-9, 9, 41)))
    want = np.float64(x) ** np.float64(y)
    np.testing.assert_allclose(machine("pow", kind, lanes, x, y), want, rtol=2 * np.finfo(DTYPES[kind]).eps)
    assert machine("pow", kind, lanes, [-2, -2, 0, 2], [3, 0.5, -1, 2000]).tolist() == pytest.approx(
        [-8, math.nan, math.inf, math.inf], nan_ok=True
    )


INF, NAN = math.inf, math.nan
# Argument and value, exactly; the sign of zero counts.
SPECIAL = {
    "exp": [(0, 1), (-0.0, 1), (-1000, 0), (1000, INF), (INF, INF), (-INF, 0), (1e30, INF), (-1e30, 0)],
    "expm1": [(0, 0), (-0.0, -0.0), (-1000, -1), (1000, INF), (INF, INF), (-INF, -1), (-1e30, -1)],
    "sigmoid": [(0, 0.5), (-1000, 0), (1000, 1), (INF, 1), (-INF, 0), (-1e30, 0), (50, 1)],
    "tanh": [(0, 0), (-0.0, -0.0), (-1000, -1), (1000, 1), (INF, 1), (-INF, -1), (20, 1), (-1e30, -1)],
    "erf": [(0, 0), (-0.0, -0.0), (-1000, -1), (1000, 1), (INF, 1), (-INF, -1), (6, 1), (-1e30, -1)],
    "log": [(1, 0), (0, -INF), (-0.0, -INF), (-1, NAN), (-1e-30, NAN), (INF, INF), (-INF, NAN)],
    "log2": [(1, 0), (8, 3), (2.0**-120, -120), (0, -INF), (-1, NAN), (INF, INF), (-INF, NAN)],
    "log10": [(1, 0), (1000, 3), (1e10, 10), (0, -INF), (-1, NAN), (INF, INF), (-INF, NAN)],
    "log1p": [(0, 0), (-0.0, -0.0), (-1, -INF), (-2, NAN), (INF, INF), (-INF, NAN)],
    "sin": [(0, 0), (-0.0, -0.0), (INF, NAN), (-INF, NAN)],
    "cos": [(0, 1), (-0.0, 1), (INF, NAN), (-INF, NAN)],
}
PAYLOADS = np.array([0x7FC00000, 0x7FC00001, 0x7F801234, 0xFFC0FFFF], np.uint32).view(np.float32)


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("name", SPECIAL)
def test_special_values(machine, name, kind):
    for lanes in LANES:
        check_special_values(machine, name, kind, lanes)


def check_special_values(machine, name, kind, lanes):
    """At the edges of its domain, a function gives what C's does."""
    for x, want in SPECIAL[name]:
        # Alone in a vector of ones, so that no other lane sends sin and cos to libm.
        got = machine(name, kind, lanes, [x])[0]
        np.testing.assert_array_equal(got, want, err_msg=f"{name}({x})")
        assert np.isnan(want) or np.signbit(got) == np.signbit(want), f"{name}({x}) is {got}"
    with np.errstate(invalid="ignore"):  # one of them signals
        assert np.isnan(machine(name, kind, lanes, PAYLOADS)).all()


@pytest.mark.parametrize("kind", DTYPES)
def test_the_ends_of_exp(machine, kind):
    dtype = DTYPES[kind]
    info, form = np.finfo(dtype), functions.FORMATS[kind]
    last, first = dtype(form.largest_exponent), dtype(form.least_exponent)
    x = np.array([last, np.nextafter(last, dtype(INF)), first, np.nextafter(first, dtype(-INF))])
    y = machine("exp", kind, 16, x)
    np.testing.assert_allclose(y[[0, 2]], np.exp(x[[0, 2]].astype(LONG)).astype(dtype), rtol=2 * info.eps)
    assert y[[1, 3]].tolist() == [INF, 0]
    assert np.isfinite(y[0])
    assert y[2] >= info.tiny
    with np.errstate(over="ignore"):
        assert np.isinf(np.exp(x[1]))


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("name", ["tanh", "erf", "sin", "cos", "sigmoid"])
def test_bounded_functions_keep_their_bounds(machine, name, kind):
    assert np.abs(machine(name, kind, 16, np.linspace(-30, 30, 50_001))).max() <= 1


# --- Text


def test_any_number_of_lanes_gives_the_same_values():
    lanes = (1, 2, 4, 8, 32, 64)
    machine = Machine([(name, kind, n) for name in ("exp", "log", "sin", "pow") for kind in DTYPES for n in lanes])
    x = np.linspace(0.1, 50, 640)
    for name in ("exp", "log", "sin", "pow"):
        for kind in DTYPES:
            first, *others = (machine(name, kind, n, x, x / 25) for n in lanes)
            for other in others:
                np.testing.assert_array_equal(first, other, err_msg=name)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_text_says_what_it_needs(name):
    text, declarations = define(name, "f64", 4)
    assert text.startswith(f"define internal <4 x double> @vg_{name}_f64x4(<4 x double> %x")
    assert len(set(declarations)) == len(declarations)
    assert text.count("fdiv") <= 1
    assert not any(word in text for word in ("fast", "nnan", "ninf"))


@pytest.mark.parametrize(("name", "kind"), [("gamma", "f32"), ("exp", "f16")])
def test_an_unknown_function_is_named_in_the_error(name, kind):
    with pytest.raises(ValueError, match=f"no {name} of {kind}.*log1p"):
        define(name, kind, 1)


# --- The coefficients


def log_erfc_over_x(x):
    x = np.float64(x)
    near = np.log1p(-special.erf(np.minimum(x, 0.5)))
    return np.where(x < 0.5, near, np.log(special.erfcx(x)) - x * x) / x


def of_root(function):
    return lambda z: function(np.sqrt(z), z)


# Under each table's name: what its polynomials are of, on which interval, and the relative error that an error of
# theirs makes in the function. Least weight: that the polynomial stays sane where no error shows.
QUARTER_PI = (np.pi / 4 * 1.005) ** 2  # and what rounding n may leave over
FITS = {
    "EXP": (lambda r: (np.expm1(r) - r) / r**2, lambda end: (-0.347, 0.347), lambda r: r**2, 0),
    "LOG": (
        lambda f: (np.log1p(f) - f + f * f / 2) / f**3,
        lambda end: (math.sqrt(0.5) - 1.0001, math.sqrt(2) - 0.9999),
        lambda f: f**3 / np.log1p(f),
        0,
    ),
    "SIN": (of_root(lambda r, z: (np.sin(r) / r - 1) / z), lambda end: (0, QUARTER_PI), lambda z: z, 0),
    "COS": (
        of_root(lambda r, z: (np.cos(r) - 1 + z / 2) / z**2),
        lambda end: (0, QUARTER_PI),
        of_root(lambda r, z: z**2 / np.cos(r)),
        0,
    ),
    "ERF": (
        log_erfc_over_x,
        lambda end: (0, end),
        lambda x: x * special.erfc(np.float64(x)) / special.erf(np.float64(x)),
        1e-9,
    ),
}


def fit(u, values, weights, degree):
    """The Chebyshev series nearest to values at u by weighted least squares, refined in longer arithmetic."""
    c = np.zeros(degree + 1, LONG)
    for _ in range(4):
        rest = np.float64(values - chebyshev.chebval(u, c))
        c = c + chebyshev.chebfit(np.float64(u), rest, degree, w=weights, rcond=1e-18)
    return c


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("table", FITS)
def test_the_coefficients_are_those_of_a_fit(table, kind):
    """cheb2poly of the fit, for SIN, COS, LOG and EXP from u to the interval's variable, rounded, is the table."""
    target, interval, weight, least = FITS[table]
    stored = np.array(getattr(functions, table)[kind], DTYPES[kind]).astype(LONG)
    low, high = interval(functions.ERF_END[kind])
    u = np.cos(np.pi * (np.arange(801) + 0.5) / 801).astype(LONG)
    x = (LONG(low) + LONG(high)) / 2 + (LONG(high) - LONG(low)) / 2 * u
    values, weights = target(x).astype(LONG), np.float64(weight(x))
    series = fit(u, values, np.maximum(weights, least), len(stored) - 1)
    best = np.abs((chebyshev.chebval(u, series) - values) * weights).max()
    error = np.abs((polynomial.polyval(u if table == "ERF" else x, stored) - values) * weights).max()
    eps = np.finfo(DTYPES[kind]).eps
    assert error <= 1.5 * best + eps / 2  # the half for the rounding of the coefficients
    assert best <= (eps / 2 if table != "ERF" else 4 * eps)
