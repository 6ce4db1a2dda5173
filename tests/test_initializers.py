import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import vugrad.random
from vugrad import initializers
from vugrad.initializers import INITIALIZERS, fans

SEED = 3
FANLESS = {"zeros", "normal"}
#: The variance that each formula promises, given (fan_in, fan_out).
VARIANCE = {
    "glorot_normal": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "glorot_uniform": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "he_normal": lambda fan_in, fan_out: 2 / fan_in,
    "he_uniform": lambda fan_in, fan_out: 2 / fan_in,
    "normal": lambda fan_in, fan_out: 1.0,
}
BOUND = {name: math.sqrt(3) for name in ("glorot_uniform", "he_uniform")}  # in standard deviations

each = pytest.mark.parametrize("name", INITIALIZERS)
examples = settings(derandomize=True, deadline=None, max_examples=30, database=None)
extents = st.integers(1, 7)


def draw(name, shape, dtype=np.float32, **options):
    return INITIALIZERS[name](shape, np.random.default_rng(SEED), dtype, **options)


@examples
@given(out=extents, into=extents, field=st.lists(extents, max_size=3))
def test_fans_count_the_terms_of_a_sum(out, into, field):
    weight = np.ones((out, into, *field))
    fan_in, fan_out = fans(weight.shape)
    assert fan_in == weight[0].sum(), "one output sums so many inputs"
    assert fan_out == weight[:, 0].sum(), "one input goes into so many outputs"


@examples
@given(name=st.sampled_from(sorted(VARIANCE)), out=extents, into=extents, side=st.sampled_from([None, 3, 5]))
def test_variance_is_the_formulas(name, out, into, side):
    shape = (40 * out, 40 * into) if side is None else (20 * out, 10 * into, side, side)
    w = draw(name, shape, np.float64)
    variance = VARIANCE[name](*fans(shape))
    # Five standard errors; a normal sample's variance has the widest, √(2/n) of itself.
    assert w.var() == pytest.approx(variance, rel=5 * math.sqrt(2 / w.size))
    assert abs(w.mean()) < 5 * math.sqrt(variance / w.size)
    largest = abs(w).max() / math.sqrt(variance)
    assert largest <= BOUND[name] if name in BOUND else largest > math.sqrt(3)


@examples
@given(out=extents, into=extents, side=st.sampled_from([None, 2]), gain=st.sampled_from([1.0, 0.5]))
def test_orthogonal_keeps_lengths_up_to_the_gain(out, into, side, gain):
    w = draw("orthogonal", (out, into) if side is None else (out, into, side, side), np.float64, gain=gain)
    flat = w.reshape(out, -1)
    product = flat @ flat.T if out <= flat.shape[1] else flat.T @ flat
    np.testing.assert_allclose(product, gain**2 * np.eye(len(product)), atol=1e-12)


def test_orthogonal_prefers_no_sign():
    rng = np.random.default_rng(SEED)
    corners = np.array([initializers.orthogonal((3, 3), rng)[0, 0] for _ in range(400)])
    assert abs(np.sign(corners).mean()) < 5 / math.sqrt(400)


def test_zeros_are_zero_and_normal_scales():
    assert not draw("zeros", (2, 3)).any()
    np.testing.assert_allclose(draw("normal", (2, 3), std=0.01), draw("normal", (2, 3)) / 100, rtol=1e-6)


@each
def test_shape_dtype_and_seed(name):
    shape = (6, 3, 5, 5)
    for dtype in (np.float16, np.float32, np.float64):
        w = draw(name, shape, dtype)
        assert (w.shape, w.dtype) == (shape, dtype)
        np.testing.assert_array_equal(w, draw(name, shape, np.float64).astype(dtype))
        assert w.flags.writeable
        assert w.flags.c_contiguous
    assert INITIALIZERS[name](shape).dtype == np.float32


@each
def test_the_seed_of_the_library_is_the_default(name):
    vugrad.random.seed(SEED)
    np.testing.assert_array_equal(INITIALIZERS[name]((4, 3)), draw(name, (4, 3)))


@each
@pytest.mark.parametrize("shape", [(5,), (), (0, 3)])
def test_shapes_without_fans(name, shape):
    if name in FANLESS:
        w = draw(name, shape)
        assert isinstance(w, np.ndarray)
        assert w.shape == shape
    else:
        with pytest.raises(ValueError, match=r"has no fans: .* for a bias use zeros or normal"):
            draw(name, shape)
