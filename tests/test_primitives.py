"""The array functions that NumPy lacks, each held against something that was not written here, or its adjoint."""

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy.polynomial import chebyshev
from scipy import special

import vugrad as vg
from vugrad.ops import primitives
from vugrad.ops.primitives import contract, erf, fold, random_bits, scatter, sigmoid, unfold

# --- erf and sigmoid


def test_erf_is_scipys():
    x = np.concatenate([np.linspace(-7, 7, 20_001), [-np.inf, np.inf, 0.0, -0.0, 30.0, 1e-300]])
    np.testing.assert_allclose(erf(x), special.erf(x), rtol=0, atol=1e-15)
    np.testing.assert_allclose(erf(x.astype(np.float32)), special.erf(x), rtol=0, atol=5e-7)
    assert erf(x.astype(np.float32)).dtype == np.float32
    assert np.isnan(erf(np.array([np.nan]))).all()


def test_the_coefficients_of_erf_are_those_of_a_fit():
    def of_t(u):
        x = 4 / (u + 1) - 2  # u = 2t − 1 and t = 2 / (2 + x)
        return np.log(special.erfcx(x) / ((u + 1) / 2))  # erfcx(x) = erfc(x) · exp(x²)

    fit = chebyshev.chebinterpolate(of_t, 60)
    np.testing.assert_allclose(fit[: len(primitives.ERF_COEFFICIENTS)], primitives.ERF_COEFFICIENTS, atol=1e-14)
    assert np.abs(fit[len(primitives.ERF_COEFFICIENTS) :]).max() < 1e-12


def test_sigmoid_is_scipys_and_never_warns():
    x = np.concatenate([np.linspace(-750, 750, 2001), [-np.inf, np.inf]])
    np.testing.assert_allclose(sigmoid(x), special.expit(x), rtol=1e-15, atol=1e-300)
    assert sigmoid(np.array([-200, 200], np.float32)).tolist() == [0, 1]


# --- scatter and indexing, fold and unfold: ⟨A x, y⟩ = ⟨x, Aᵀ y⟩


def assert_adjoint(forward, adjoint, x, rng):
    y = rng.normal(size=np.shape(forward(x)))
    back = adjoint(y)
    assert back.shape == x.shape
    np.testing.assert_allclose(np.sum(forward(x) * y), np.sum(x * back), rtol=1e-10, atol=1e-12)


@st.composite
def indexed(draw):
    """A shape and an index for it: slices, numbers, new axes, dots, lists with repeats, a mask."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    if draw(st.booleans()):
        size = math.prod(shape)
        return shape, np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size))).reshape(shape)
    length, index = draw(st.integers(1, 4)), []
    for n in shape[: draw(st.integers(0, len(shape)))]:
        positions = st.integers(-n, n - 1)
        index.append(
            draw(
                st.one_of(
                    positions,
                    st.slices(n),
                    st.lists(positions, min_size=length, max_size=length).map(np.array),
                )
            )
        )
    if draw(st.booleans()):
        index.insert(draw(st.integers(0, len(index))), None)
    if draw(st.booleans()):
        index.append(...)
    return shape, tuple(index)


@given(indexed())
def test_scatter_is_the_adjoint_of_indexing(case):
    shape, index = case
    rng = np.random.default_rng(0)
    assert_adjoint(lambda x: x[index], lambda y: scatter(y, index, shape), rng.normal(size=shape), rng)


def test_scatter_adds_where_an_index_repeats_and_keeps_the_dtype():
    values = np.array([1, 2, 3], np.float32)
    for index in (np.array([2, 2, 0]), [2, 2, 0], (np.array([2, -1, 0]),)):
        z = scatter(values, index, (3,))
        assert z.tolist() == [3, 0, 3]
        assert z.dtype == np.float32


@st.composite
def windowed(draw):
    """The shape of some images, a kernel that fits, and a stride that need not end at the border."""
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    size = tuple(k + draw(st.integers(0, 4)) for k in kernel)
    batch = tuple(draw(st.lists(st.integers(0, 2), max_size=2)))
    return batch + size, kernel, draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))


@given(windowed())
def test_fold_is_the_adjoint_of_unfold(case):
    shape, kernel, stride = case
    rng = np.random.default_rng(0)
    assert_adjoint(
        lambda x: unfold(x, kernel, stride), lambda y: fold(y, shape[-2:], stride), rng.normal(size=shape), rng
    )


@given(windowed())
def test_unfold_is_every_window(case):
    shape, (kh, kw), stride = case
    x = np.random.default_rng(0).normal(size=shape)
    y = unfold(x, (kh, kw), stride)
    for h, w in np.ndindex(*y.shape[-4:-2]):
        top, left = h * stride[0], w * stride[1]
        np.testing.assert_array_equal(y[..., h, w, :, :], x[..., top : top + kh, left : left + kw])
    # One more window, down or across, would not fit.
    assert y.shape[-4] * stride[0] + kh > shape[-2]
    assert y.shape[-3] * stride[1] + kw > shape[-1]


# --- contract


@st.composite
def contractions(draw):
    """Two terms and an output: each letter in the output, in both terms, or both."""
    letters = "abcdef"[: draw(st.integers(1, 6))]
    first, second, output = [], [], []
    for letter in letters:
        places = draw(st.sampled_from(["stacked", "rows", "columns", "summed"]))
        if places != "columns":
            first.append(letter)
        if places != "rows":
            second.append(letter)
        if places != "summed":
            output.append(letter)
    shuffled = ["".join(draw(st.permutations(part))) for part in (first, second, output)]
    sizes = dict(zip("abcdef", [2, 3, 1, 4, 0 if draw(st.integers(0, 4)) == 0 else 2, 3], strict=True))
    return shuffled, sizes


@given(contractions())
def test_contract_is_einsum(case):
    (first, second, output), sizes = case
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=[sizes[letter] for letter in term]) for term in (first, second))
    subscripts = f"{first},{second}->{output}"
    z = contract(subscripts, x, y)
    expected = np.einsum(subscripts, x, y)
    assert z.shape == expected.shape
    np.testing.assert_allclose(z, expected, rtol=1e-10, atol=1e-12)


# --- random_bits


def bits(key, shape):
    return random_bits(np.array(key, np.uint32), shape)


def as_ones(words):
    """The 32 bits of each word, as +1 and −1."""
    return np.float32(2) * ((words >> np.arange(32, dtype=np.uint32)[:, None]) & np.uint32(1)) - 1


@pytest.mark.parametrize("key", [(0, 0), (0, 1), (1, 0), (2**32 - 1, 2**32 - 1), (123456789, 42)])
def test_random_bits_are_uniform(key):
    n = 200_000
    words = bits(key, (n,))
    assert words.dtype == np.uint32
    sigma = 1 / np.sqrt(12 * n)
    uniform = words / 2**32
    assert abs(uniform.mean() - 0.5) < 4 * sigma
    assert abs(uniform.var() - 1 / 12) < 4 * np.sqrt(1 / 180 / n)
    assert np.abs(as_ones(words).mean(axis=1)).max() < 4.5 / np.sqrt(n)
    counts = np.bincount(words >> np.uint32(24), minlength=256)
    chi_square = np.sum((counts - n / 256) ** 2) / (n / 256)
    assert special.chdtrc(255, chi_square) > 1e-4


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(lambda w: w((7, 9))[:-1], lambda w: w((7, 9))[1:], id="neighbours"),
        pytest.param(lambda w: w((7, 9))[:-2], lambda w: w((7, 9))[2:], id="every other"),
        pytest.param(lambda w: w((7, 9))[:-256], lambda w: w((7, 9))[256:], id="a row further"),
        pytest.param(lambda w: w((7, 9)), lambda w: w((7, 10)), id="second word + 1"),
        pytest.param(lambda w: w((7, 9)), lambda w: w((8, 9)), id="first word + 1"),
        pytest.param(lambda w: w((7, 9)), lambda w: w((9, 7)), id="words swapped"),
        pytest.param(lambda w: w((0, 0)), lambda w: w((0, 1)), id="the first keys"),
        pytest.param(lambda w: w((7, 9))[:-1], lambda w: w((7, 10))[1:], id="next key, next position"),
    ],
)
def test_random_bits_are_uncorrelated(first, second):
    n = 20_000
    a, b = as_ones(first(lambda key: bits(key, (n,)))), as_ones(second(lambda key: bits(key, (n,))))
    correlations = a @ b.T / a.shape[1]  # of each bit with each bit: 1024 numbers of standard deviation 1/√n
    assert np.abs(correlations).max() < 5 / np.sqrt(a.shape[1])


def test_random_bits_depend_on_key_and_position_alone():
    words = bits((3, 4), (6,))
    np.testing.assert_array_equal(bits((3, 4), (2, 3)), words.reshape(2, 3))
    np.testing.assert_array_equal(bits((3, 4), (100,))[:6], words)
    assert bits((3, 4), ()).shape == ()
    assert bits((3, 4), (0, 5)).shape == (0, 5)


# --- nodes


@pytest.mark.parametrize(
    ("f", "shape"),
    [
        (erf, (2, 3)),
        (sigmoid, (2, 3)),
        (lambda x: unfold(x, (2, 2), stride=(1, 2)), (2, 3, 4)),
        (lambda x: fold(x, size=(3, 4)), (2, 2, 2, 3)),
        (lambda x: scatter(x, [1, 1], (3,)), (2,)),
        (lambda x: contract("ij,jk->ki", x, np.ones((3, 2))), (2, 3)),
        (lambda x: contract("ij,kj->ik", np.ones((2, 3)), x), (4, 3)),
    ],
)
def test_primitives_work_on_nodes(f, shape):
    x = np.random.default_rng(0).normal(size=shape)
    y = f(vg.TensorNode(x))
    assert isinstance(y, vg.TensorNode)
    np.testing.assert_allclose(y.value, f(x), rtol=1e-12)
