"""Arrays of other libraries: what is shared with nodes and what comes out of them, by ``__array__`` and DLPack."""

import re

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp

import vugrad as vg
from vugrad.graph import as_array


class Exported:
    """An array of a library that knows DLPack and nothing else."""

    def __init__(self, array, device=(1, 0)):
        self.array, self.device = array, device
        self.shape = array.shape

    def __len__(self):
        return len(self.array)

    def __getitem__(self, rows):
        return Exported(self.array[rows])

    def __dlpack__(self, **options):
        if self.device != (1, 0):
            raise BufferError("it is on device 2")
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.device


class Told:
    """An array of a library that knows ``__array__`` and nothing else."""

    def __init__(self, array):
        self.array, self.shape = array, array.shape

    def __len__(self):
        return len(self.array)

    def __getitem__(self, rows):
        return Told(self.array[rows])

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype=dtype, copy=copy)


KINDS = [Exported, Told]
numbers = hnp.arrays(
    st.sampled_from([np.bool_, np.uint8, np.int64, np.float16, np.float32, np.float64, np.complex128]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    elements={"allow_nan": False, "allow_infinity": False, "allow_subnormal": False},
)


@pytest.mark.parametrize("kind", KINDS)
@given(array=numbers, backwards=st.booleans(), read_only=st.booleans())
def test_a_node_shares_the_memory_of_what_it_is_made_from(kind, array, backwards, read_only):
    if backwards:  # no copy is contiguous
        array = array[..., ::-1] if array.ndim else array
    array.flags.writeable = not read_only
    node = vg.TensorNode(kind(array), requires_grad=array.dtype.kind != "c")
    assert type(node.value) is np.ndarray
    assert node.value.dtype == array.dtype
    np.testing.assert_array_equal(node.value, array)
    assert node.value.__array_interface__["data"][0] == array.__array_interface__["data"][0]
    assert not (node.value.flags.writeable and read_only)
    assert node.requires_grad == (array.dtype.kind == "f")


@given(array=numbers, read_only=st.booleans())
def test_a_constant_node_is_read_without_a_copy(array, read_only):
    array.flags.writeable = not read_only
    node = vg.TensorNode(array, requires_grad=False)
    for read in (np.from_dlpack(node), np.asarray(node), np.from_dlpack(node, device="cpu", copy=False)):
        np.testing.assert_array_equal(read, array)
        assert read.dtype == array.dtype
        assert read.__array_interface__["data"][0] == array.__array_interface__["data"][0]
        assert not (read.flags.writeable and read_only)
    copied = np.from_dlpack(node, copy=True)
    assert not np.shares_memory(copied, array)
    assert node.__dlpack_device__() == (1, 0)


@pytest.mark.parametrize("read", [np.from_dlpack, np.asarray, lambda node: node.__dlpack__(stream=None)])
def test_what_has_a_gradient_does_not_leave_the_graph_unseen(read):
    weight = vg.TensorNode(np.ones(3), name="weight")
    with pytest.raises(TypeError, match=re.escape("'weight' would leave the graph here")) as caught:
        read(weight)
    assert "write node.value for its array" in str(caught.value)
    assert weight.__dlpack_device__() == (1, 0)
    for way_out in (weight.value, weight.detach()):
        assert np.shares_memory(np.from_dlpack(way_out), weight.value)


def test_what_dlpack_cannot_say_is_numpys_own_error():
    with pytest.raises(BufferError, match="native byte order"):
        np.from_dlpack(vg.TensorNode(np.ones(2, ">f4"), requires_grad=False))
    array = np.ones(2)
    array.flags.writeable = False
    with pytest.raises(BufferError, match="readonly"):  # to a library that asks in the manner of before DLPack 1.0
        vg.TensorNode(array, requires_grad=False).__dlpack__()


def test_an_array_on_another_device_is_refused_with_what_to_do():
    with pytest.raises(TypeError, match=r"NumPy cannot read this Exported \(it is on device 2\): move it to the CPU"):
        vg.TensorNode(Exported(np.ones(2), device=(2, 0)))


def test_numpys_own_kinds_and_nodes_stay_as_they_are():
    for kept in (np.ones(3), np.ones(3).view(type("Own", (np.ndarray,), {})), vg.TensorNode(1.0)):
        assert as_array(kept) is kept
    for number in (1.5, np.float32(1.5), [1.5], (True, 2)):
        assert type(as_array(number)) is np.ndarray


# --- where arrays come in

X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
Y = np.array([0, 1, 1, 0])


def network():
    return vg.nn.MLP([3, 4, 2], rng=np.random.default_rng(0))


def embedding():
    return vg.nn.Embedding(2, 3, rng=np.random.default_rng(0))


PLACES = {
    "a module": lambda x, y: network()(x),
    "an embedding": lambda x, y: embedding()(y),
    "an operator": lambda x, y: vg.TensorNode(np.ones((3, 3), np.float32)) * x[:3],
    "an op with a number": lambda x, y: vg.ops.LeakyReLU.do_forward(x, 0.2),
    "predict": lambda x, y: vg.train.predict(network(), x),
    "cross_entropy": lambda x, y: vg.losses.cross_entropy(X, y),
    "bce": lambda x, y: vg.losses.binary_cross_entropy_with_logits(X[:, 0], y),
    "one_hot": lambda x, y: vg.losses.one_hot(y, 2),
    "compiled": lambda x, y: vg.compile(lambda x, y: np.tanh(x).sum(axis=1) * y)(x, y),
    "a compiled module": lambda x, y: vg.compile(network())(x),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_arrays_of_other_libraries_are_taken(place, kind):
    expected, got = PLACES[place](X, Y), PLACES[place](kind(X), kind(Y))
    np.testing.assert_array_equal(getattr(got, "value", got), getattr(expected, "value", expected))


def test_a_compiled_function_makes_one_plan_whatever_library_an_array_is_of():
    f = vg.compile(lambda x: x * 2)
    for x in (X, Exported(X), Told(X + 1), Exported(X - 1)):
        np.testing.assert_array_equal(f(x), 2 * np.asarray(getattr(x, "array", x)))
    assert len(f.plans) == 1


def test_a_dtype_is_no_array_though_its_class_has_the_methods_of_one():
    f = vg.compile(lambda x, dtype: x.astype(dtype))
    assert f(X, np.float64).dtype == np.float64
    assert f(X, np.float32).dtype == np.float32


@pytest.mark.parametrize("compile", [False, True])
def test_training_takes_what_can_be_made_an_array(compile):
    trained = []
    for data in ((X, Y), (Told(X), Told(Y)), (X.tolist(), Y.tolist())):
        model = network()
        vg.train.fit(model, data, epochs=2, batch_size=3, seed=0, progress=False, compile=compile)
        trained.append(model.state_dict())
    for name, array in trained[0].items():
        np.testing.assert_array_equal(trained[1][name], array)
        np.testing.assert_allclose(trained[2][name], array, rtol=1e-4, atol=1e-6)


def test_pytorch_both_ways():
    torch = pytest.importorskip("torch")
    tensor = torch.arange(6.0).reshape(2, 3)
    node = vg.TensorNode(tensor)
    assert node.value.__array_interface__["data"][0] == tensor.data_ptr()
    assert torch.from_dlpack(node.detach()).data_ptr() == tensor.data_ptr()
    with pytest.raises(TypeError, match="would leave the graph here"):
        torch.from_dlpack(node)
    with pytest.raises(RuntimeError, match="detach"):
        vg.TensorNode(torch.ones(2, requires_grad=True))
    model, y = network(), torch.tensor([0, 1])
    np.testing.assert_array_equal(model(tensor).value, model(tensor.numpy()).value)
    assert vg.losses.cross_entropy(model(tensor), y).item() > 0
    history = vg.train.fit(model, (tensor, y), epochs=2, progress=False, compile=False)
    assert len(history) == 2
