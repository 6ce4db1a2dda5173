"""Weights in PyTorch's files: against what PyTorch wrote and computed, and each of their faults in its own words."""

import re

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp
from reference.pytorch_weights import FOLDER, NETWORKS, OUTPUTS

import vugrad as vg
from vugrad import nn
from vugrad.interchange.tensors import read_tensors, write_tensors
from vugrad.interchange.torchfile import read_torch

with np.load(OUTPUTS, allow_pickle=False) as archive:
    REFERENCE = dict(archive)


def under(prefix):
    return {name.removeprefix(prefix): x for name, x in REFERENCE.items() if name.startswith(prefix)}


def outputs(network, x):
    """What every module of a network makes of a batch in eval mode."""
    found = {}

    def watch(name, module):
        forward = module.forward

        def watched(x):
            found[name] = forward(x)
            return found[name]

        module.forward = watched

    for name, module in network.eval().named_modules():
        watch(name, module)
    network(x)
    return {name: y.value if isinstance(y, vg.TensorNode) else y for name, y in found.items()}


def same(state, other):
    return state.keys() == other.keys() and all(np.array_equal(x, other[name]) for name, x in state.items())


# --- what PyTorch wrote


@pytest.mark.parametrize("kind", ["pt", "safetensors"])
@pytest.mark.parametrize("case", NETWORKS)
def test_every_layer_gives_what_it_gives_in_pytorch(case, kind, tmp_path):
    network = NETWORKS[case][1](nn)
    path = tmp_path / "weights of any name"  # what they are, their content says
    path.write_bytes((FOLDER / f"{case}.{kind}").read_bytes())
    vg.load_state(network, path)
    expected = under(f"{case}/y/")
    found = outputs(network, REFERENCE[f"{case}/x"])
    assert found.keys() == expected.keys()
    for name, y in expected.items():
        np.testing.assert_allclose(found[name], y, rtol=1e-5, atol=1e-5 * max(1, np.abs(y).max()), err_msg=name)


@pytest.mark.parametrize("case", NETWORKS)
def test_both_of_pytorchs_files_hold_the_same(case):
    theirs, _ = read_tensors(FOLDER / f"{case}.safetensors")
    ours = read_torch(FOLDER / f"{case}.pt")
    assert same(ours, theirs)
    assert {name: x.dtype for name, x in ours.items()} == {name: x.dtype for name, x in theirs.items()}


@pytest.mark.parametrize("case", NETWORKS)
def test_what_we_write_has_the_names_shapes_and_dtypes_of_what_pytorch_writes(case, tmp_path):
    network = NETWORKS[case][1](nn)
    vg.load_state(network, FOLDER / f"{case}.pt")
    vg.save_state(network, tmp_path / "ours")
    ours, metadata = read_tensors(tmp_path / "ours")
    theirs, _ = read_tensors(FOLDER / f"{case}.safetensors")
    assert same(ours, {name: x for name, x in theirs.items() if not name.endswith("num_batches_tracked")})
    assert all(x.dtype == theirs[name].dtype for name, x in ours.items())
    assert metadata == {"format": "pt"}


def test_every_kind_of_tensor():
    found, expected = read_torch(FOLDER / "kinds.pt"), under("kinds/")
    assert found.keys() == expected.keys()
    for name, x in expected.items():
        assert found[name].dtype == x.dtype, name
        assert not found[name].flags.writeable or found[name].size == 0, name
        np.testing.assert_array_equal(found[name], x, err_msg=name)


@pytest.mark.parametrize("variant", ["protocol3", "protocol5", "unchecked", "float64"])
def test_other_ways_to_save_the_same(variant):
    assert same(read_torch(FOLDER / f"residual-{variant}.pt"), read_torch(FOLDER / "residual.pt"))


@pytest.mark.parametrize(("dtype", "precision"), [("float64", 0), ("float16", 2**-11), ("bfloat16", 2**-8)])
def test_floats_of_other_widths_are_converted(dtype, precision):
    network, exact = NETWORKS["residual"][1](nn), read_torch(FOLDER / "residual.pt")
    vg.load_state(network, FOLDER / f"residual-{dtype}.pt")
    for name, x in network.state_dict().items():
        assert x.dtype == np.float32
        np.testing.assert_allclose(x, exact[name], rtol=precision, atol=1e-6 if precision else 0)


REFUSED = {
    "whole": r"asks for 'torch\.nn\.modules\.container\.Sequential'.*not run.*save\(model\.state_dict\(\), path\)",
    "checkpoint": r"'epoch': int, 'model': dict of 2, 'optimizer': dict of 2, 'best': NoneType\. Instead, save the",
    "one": r"it holds a tensor, and not a dict of tensors",
    "sparse": r"a sparse tensor: save tensor\.to_dense\(\)",
    "quantized": r"a quantized tensor: save tensor\.dequantize\(\)",
    "meta": r"on the device meta, which has no numbers",
    "conjugated": r"yet to be conjugated or negated",
    "float8": r"asks for 'torch\.float8_e4m3fn', which NumPy's tensors do not need",
    "legacy": r"from before version 1\.6: save it anew",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_state_dict_is_named(name):
    path = FOLDER / f"refused-{name}.pt"
    network = nn.Linear(2, 2)
    before = network.state_dict()
    with pytest.raises(ValueError, match=f"{re.escape(str(path))}: .*{REFUSED[name]}"):
        vg.load_state(network, path)
    assert same(network.state_dict(), before)


# --- what fits, and what does not


@pytest.fixture
def written(tmp_path):
    def written(**arrays):
        write_tensors(tmp_path / "written", {name.replace("__", "."): x for name, x in arrays.items()}, {})
        return tmp_path / "written"

    return written


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
        self.decoder.weight = self.encoder.weight


A, B = np.arange(4, dtype=np.float32).reshape(2, 2), np.zeros((2, 2), np.float32)


@pytest.mark.parametrize("names", [("encoder__weight",), ("decoder__weight",), ("encoder__weight", "decoder__weight")])
def test_what_is_shared_loads_under_any_of_its_names(names, written):
    model = Tied()
    vg.load_state(model, written(**dict.fromkeys(names, A)))
    np.testing.assert_array_equal(model.encoder.weight.value, A)
    assert model.decoder.weight is model.encoder.weight


def test_what_is_shared_has_one_value(written):
    model, nan = Tied(), np.full((2, 2), np.nan, np.float32)
    vg.load_state(model, written(encoder__weight=nan, decoder__weight=nan))
    assert np.isnan(model.encoder.weight.value).all()
    with pytest.raises(
        ValueError, match=r"decoder\.weight: shares its array with encoder\.weight in the module, and has"
    ):
        vg.load_state(model, written(encoder__weight=A, decoder__weight=B))
    with pytest.raises(ValueError, match=r"(?s)decoder\.weight: shape \(3,\).*x: not in the module"):
        vg.load_state(model, written(encoder__weight=A, decoder__weight=np.ones(3), x=A))
    assert np.isnan(model.encoder.weight.value).all()


def test_the_key_of_a_layer_that_draws_is_not_pytorchs(tmp_path):
    model = nn.Sequential(nn.RandomShift(1), nn.Flatten(), nn.Linear(4, 2), nn.Dropout())
    model.again = model[3]
    other = nn.Sequential(nn.RandomShift(1), nn.Flatten(), nn.Linear(4, 2), nn.Dropout())
    keys = other[0].key.copy(), other[3].key.copy()
    vg.save_state(model, tmp_path / "m")
    assert set(read_tensors(tmp_path / "m")[0]) == {"2.weight", "2.bias"}
    vg.load_state(other, tmp_path / "m")
    np.testing.assert_array_equal(other[2].weight.value, model[2].weight.value)
    assert np.array_equal((other[0].key, other[3].key), keys)


def test_everything_that_does_not_fit_is_listed_and_nothing_is_loaded(written):
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout(), nn.Linear(3, 1))
    before = model.state_dict()
    path = written(
        **{"0__weight": np.ones((3, 1)), "0__bias": np.ones(3, np.int64), "1__bias": np.array([1, 1e300, 1])},
        **{"1__weight": np.ones(3), "1__running_mean": np.ones(3, bool), "1__num_batches_tracked": np.array(3)},
        **{"1__running_var": np.ones(3), "extra__num_batches": np.ones(3), "3__bias": np.ones(())},
    )
    with pytest.raises(ValueError, match="written: this state does not fit Sequential:") as caught:
        vg.load_state(model, path)
    assert str(caught.value).splitlines()[1:] == [
        "  0.weight: shape (3, 1) in the state, (3, 2) in the module",
        "  0.bias: int64 in the state, float32 in the module",
        "  1.bias: 1e+300 in the state, which float32 in the module cannot hold",
        "  1.running_mean: bool in the state, float32 in the module",
        "  3.bias: shape () in the state, (1,) in the module",
        "  3.weight: missing from the state",
        "  extra.num_batches: not in the module",
    ]
    assert same(model.state_dict(), before)


def test_a_part_loads_where_that_is_asked_for(written):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    before = model[1].weight.value.copy()
    vg.load_state(model, written(**{"0__weight": A, "head__weight": B}), strict=False)
    np.testing.assert_array_equal(model[0].weight.value, A)
    np.testing.assert_array_equal(model[1].weight.value, before)
    with pytest.raises(ValueError, match=r"0\.weight: shape"):
        vg.load_state(model, written(**{"0__weight": np.ones(3)}), strict=False)


def test_a_wrapped_model_is_recognised():
    model = NETWORKS["residual"][1](nn)
    with pytest.raises(ValueError, match=r"All names in the file begin with 'module\.'.* Write (.*)$") as caught:
        vg.load_state(model, FOLDER / "residual-wrapped.pt")
    names = {"vg": vg, "model": model, "path": FOLDER / "residual-wrapped.pt"}
    exec(str(caught.value).rpartition("Write ")[2], names)
    assert same(model.state_dict(), read_torch(FOLDER / "residual.pt"))


@pytest.mark.parametrize(
    ("model", "prefix", "message"),
    [
        (nn.Sequential(nn.Linear(2, 2)), "_orig_mod.", r"save\(model\.get_submodule\('_orig_mod'\)\.state_dict\(\)"),
        (nn.Sequential(nn.Linear(2, 2)), "a.model.", r"save\(model\.get_submodule\('a\.model'\)"),
        (nn.Sequential(nn.Sequential(nn.Linear(2, 2))), "", r"All names in the module begin with '0\.', and behind it"),
        (nn.Sequential(nn.Conv2d(1, 1, 1)), "conv", r"not in the module$"),
    ],
)
def test_other_prefixes(model, prefix, message, written):
    with pytest.raises(ValueError, match=message):
        vg.load_state(model, written(**{f"{prefix}0.weight": A, f"{prefix}0.bias": A[0]}))


@pytest.mark.parametrize("value", [1e300, -1e300])
@pytest.mark.parametrize("shape", [(), (2, 1)])
def test_a_number_that_is_too_large_is_no_infinity(value, shape, written):
    model = nn.Module()
    model.w = nn.parameter(np.zeros(shape, np.float32))
    with pytest.raises(
        ValueError, match=re.escape(f"w: {value} in the state, which float32 in the module cannot hold")
    ):
        vg.load_state(model, written(w=np.full(shape, value)))
    with np.errstate(all="raise"):
        for fits in (np.nan, np.inf, 1e-300):
            vg.load_state(model, written(w=np.full(shape, fits)))
            np.testing.assert_array_equal(model.w.value, np.full(shape, 0 if fits == 1e-300 else fits, np.float32))


def test_whole_numbers_are_converted_where_they_fit(written):
    model = nn.Module()
    model.count = np.zeros((), np.int32)
    vg.load_state(model, written(count=np.array(7)))
    assert model.count == 7
    with pytest.raises(ValueError, match="count: 4294967296 in the state, which int32 in the module cannot hold"):
        vg.load_state(model, written(count=np.array(2**32)))
    assert model.count == 7


floats = st.sampled_from([np.float16, np.float32, np.float64, np.dtype(">f4"), np.dtype(">f8")])


@given(hnp.arrays(floats, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)), st.booleans())
def test_what_is_saved_comes_back(tmp_path_factory, array, turned):
    model, other = nn.Module(), nn.Module()
    model.weight = vg.TensorNode(array.T if turned else array)
    other.weight = nn.parameter(np.zeros_like(model.weight.value))
    path = tmp_path_factory.mktemp("any") / "file"
    vg.save_state(model, path)
    vg.load_state(other, path)
    np.testing.assert_array_equal(other.weight.value, model.weight.value)  # NaN equals NaN
    assert read_tensors(path)[0]["weight"].dtype == array.dtype.newbyteorder("<")


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (None, FileNotFoundError, "there is no file"),
        (b"", ValueError, "neither a safetensors file nor one of torch.save's: it begins with b''"),
        (b"\x89HDF\r\n", ValueError, "neither a safetensors file"),
        (b"\x09\0\0\0\0\0\0\0{}", ValueError, "is not a whole safetensors file"),
        (b"\x02\0\0\0\0\0\0\0{}", ValueError, r"this state does not fit Linear:\n  weight: missing"),
        (b"PK", ValueError, "not a whole file of torch.save's"),
    ],
)
def test_files_of_other_kinds(content, error, message, tmp_path):
    path = tmp_path / "file.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match=f"{re.escape(str(path))}.*{message}|{message} {re.escape(str(path))}"):
        vg.load_state(nn.Linear(2, 2), path)


def test_what_the_format_lacks_is_named(tmp_path):
    model = nn.Module()
    model.phase = np.ones(2, complex)
    with pytest.raises(ValueError, match=r"phase holds complex128, and a safetensors file holds BOOL"):
        vg.save_state(model, tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_without_the_package_pytorchs_files_load(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    vg.load_state(NETWORKS["residual"][1](nn), FOLDER / "residual.pt")
    with pytest.raises(ImportError, match=r"pip install 'vugrad\[lab\]'"):
        vg.load_state(nn.Linear(1, 1), FOLDER / "residual.safetensors")
    with pytest.raises(ImportError, match=r"pip install 'vugrad\[lab\]'"):
        vg.save_state(nn.Linear(1, 1), tmp_path / "m")


def test_the_model_of_a_checkpoint_is_loaded(tmp_path):
    model, other = nn.Linear(3, 2), nn.Linear(3, 2)
    vg.train.save_checkpoint(tmp_path / "run.safetensors", model, vg.optim.SGD(model.parameters(), lr=0.1))
    vg.load_state(other, tmp_path / "run.safetensors")
    assert (other.weight.value == model.weight.value).all()


def test_what_is_not_loaded_is_told(written):
    model = nn.Linear(3, 2)
    found = vg.load_state(model, written(weight=np.ones((2, 3)), scale=np.ones(2)), strict=False)
    assert found == (["bias"], ["scale"])
    assert (found.missing_keys, found.unexpected_keys) == (["bias"], ["scale"])
    assert (model.weight.value == 1).all()
