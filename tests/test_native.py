"""Networks as C functions: they compute what the model does, wherever they run, and need nothing else."""

import ctypes
import platform
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

import vugrad as vg
from vugrad import nn
from vugrad.compiler import CannotCompileError
from vugrad.compiler.arrays import VIEWS, Output, Program, bound, interpret, turned, verify
from vugrad.compiler.emit.entry import LARGE
from vugrad.compiler.export import STACK
from vugrad.compiler.machine import llvm
from vugrad.compiler.trace import trace
from vugrad.interchange.cnames import is_free, near

CC, CXX, NM = (shutil.which(program) for program in ("gcc", "g++", "nm"))
FOREIGN = [shutil.which(program) for program in ("aarch64-linux-gnu-gcc", "qemu-aarch64")]
STRICT = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-O1"]
DIGITS = Path(__file__).parents[1] / "docs" / "native" / "digits.c"
ON_X86 = platform.machine() in ("x86_64", "AMD64")

needs_cc = pytest.mark.skipif(CC is None, reason="there is no C compiler (gcc)")
on_x86 = pytest.mark.skipif(not ON_X86, reason="this is no x86 processor")


def level(name):
    """How an example is compiled and run for a level of x86 processors."""
    lacking = {x for x in llvm.TARGETS[name]().features.split(",") if x[:1] == "+"} - {*llvm.host().features.split(",")}
    missing = pytest.mark.skipif(bool(lacking), reason=f"this processor has no {', '.join(sorted(lacking))}")
    return pytest.param(name, [CC], [], marks=[needs_cc, on_x86, missing])


#: How an example is compiled for each target, and run.
RUN = {
    "host": pytest.param("host", [CC], [], marks=needs_cc),
    **{name: level(name) for name in ("x86-64", "x86-64-v3", "x86-64-v4")},
    "aarch64": pytest.param(
        "aarch64",
        [FOREIGN[0], "-static"],
        FOREIGN[1:],
        marks=pytest.mark.skipif(None in FOREIGN, reason="there is no compiler or no emulator of AArch64"),
    ),
}


def build(sources, program, *, cc=(CC,), std="c99", flags=()):
    subprocess.run([*cc, *STRICT, f"-std={std}", *map(str, sources), "-o", str(program), *flags], check=True)
    return program


def outputs(files, *xs, cc=(CC,), run=(), flags=()):
    """What the example prints for some inputs."""
    code, _, example = files
    program = build([example, code], code.with_suffix(""), cc=cc, flags=flags)
    given = b"".join(np.ascontiguousarray(x).tobytes() for x in xs)
    done = subprocess.run([*run, str(program)], input=given, capture_output=True, check=True)
    return np.array(done.stdout.split(), float)


def eager(model, x):
    """The model's outputs in eval mode."""
    modes = [(module, module.training) for _, module in model.named_modules()]
    with vg.no_grad():
        y = model.eval()(x)
    for module, mode in modes:
        module.training = mode
    return getattr(y, "value", y)


def seasoned(model):
    """A model whose running statistics and biases are no longer those of a new one."""
    rng = np.random.default_rng(1)
    for name, array in {**dict(model.named_buffers()), **{k: p.value for k, p in model.named_parameters()}}.items():
        if name.endswith("running_var"):
            array[...] = rng.uniform(0.5, 2, array.shape)
        elif array.dtype.kind == "f" and array.ndim == 1:
            array[...] = rng.normal(size=array.shape)
    return model


ALL = {"batch_norm": True, "residual": True, "dropout": 0.3}
NETWORKS = {
    **{f"{name}_mlp": ((20,), lambda a=a: nn.MLP([20, 17, 17, 3], a, **ALL)) for name, a in nn.ACTIVATIONS.items()},
    "plain": ((1, 5, 4), lambda: nn.MLP([20, 300, 3])),
    "probabilities": ((20,), lambda: nn.Sequential(nn.MLP([20, 9]), nn.Softmax())),
    "logarithms": ((20,), lambda: nn.Sequential(nn.LayerNorm(20), nn.MLP([20, 9]), nn.LogSoftmax())),
    "lenet": ((1, 28, 28), nn.LeNet),
    "lenet_all": ((1, 28, 28), lambda: nn.LeNet(5, hidden=(30, 30), activation=nn.Tanh, **ALL)),
    "lenet_colour": ((3, 17, 18), lambda: nn.LeNet(4, (3, 17, 18), (8,), nn.GELU)),
    "strided": ((1, 28, 28), nn.StridedCNN),
    "averaging": ((2, 9, 9), lambda: nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.AvgPool2d(2), nn.Flatten())),
}


def exported(name, n, folder, target="host"):
    vg.seed(2)
    shape, make = NETWORKS[name]
    model = seasoned(make())
    x = np.random.default_rng(n).normal(size=(n, *shape)).astype(np.float32)
    return vg.export_native(model, x, folder / f"{name}.o", target), model, x


def needed(code):
    """The names that an object file takes from elsewhere."""
    if NM is not None:
        return subprocess.run([NM, "-u", str(code)], capture_output=True, text=True, check=True).stdout.split()
    return llvm.missing(code.read_bytes())


@needs_cc
@pytest.mark.parametrize("n", [1, 6])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_computes_what_its_model_does(name, n, tmp_path):
    files, model, x = exported(name, n, tmp_path)
    assert [file.name for file in files] == [f"{name}.o", f"{name}.h", f"{name}_example.c"]
    np.testing.assert_allclose(outputs(files, x), eager(model, x).ravel(), rtol=1e-5, atol=1e-5)
    assert needed(files[0]) == llvm.missing(files[0].read_bytes()) == []


@pytest.mark.parametrize(("target", "cc", "run"), [RUN[name] for name in RUN if name != "host"], ids=[*RUN][1:])
@pytest.mark.parametrize(("name", "n"), [("lenet_all", 1), ("gelu_mlp", 5), ("softplus_mlp", 1), ("logarithms", 17)])
def test_every_target_computes_the_same(name, n, target, cc, run, tmp_path):
    files, model, x = exported(name, n, tmp_path, target)
    np.testing.assert_allclose(outputs(files, x, cc=cc, run=run), eager(model, x).ravel(), rtol=1e-5, atol=1e-5)
    assert llvm.missing(files[0].read_bytes()) == []


@pytest.mark.parametrize("target", [t for t in llvm.TARGETS if t != "host"])
def test_an_object_file_is_of_its_target(target, tmp_path):
    files, *_ = exported("plain", 1, tmp_path, target)
    content = files[0].read_bytes()
    assert content[:6] == b"\x7fELF\x02\x01"  # of 64 bits, the lowest byte first
    assert int.from_bytes(content[18:20], "little") == {"x86": 62, "aar": 183}[target[:3]]
    assert llvm.TARGETS[target]().triple in files[1].read_text()


@needs_cc
@pytest.mark.parametrize("name", ["lenet", "plain"])
def test_on_this_machine_it_is_the_compiled_model_bit_for_bit(name, tmp_path):
    files, model, x = exported(name, 1, tmp_path)
    vg.set_threads(1)
    try:
        compiled = vg.compile(model.eval())(x).value
    finally:
        vg.set_threads(None)
    np.testing.assert_array_equal(outputs(files, x).astype(np.float32), compiled.ravel())


@needs_cc
def test_threads_call_it_at_once_on_arrays_that_begin_anywhere(tmp_path):
    files, model, x = exported("lenet", 1, tmp_path)
    library = build([files[0]], tmp_path / "lenet.so", flags=["-shared"])
    function = ctypes.CDLL(str(library)).lenet
    images = np.random.default_rng(0).normal(size=(8, *x.shape)).astype(np.float32)

    def called(i):
        held, y = np.zeros(x.size + 16, np.float32), np.zeros((11,), np.float32)
        held[1 + i : 1 + i + x.size] = images[i].ravel()
        found = []
        for _ in range(200):
            function(ctypes.c_void_p(held[1 + i :].ctypes.data), ctypes.c_void_p(y[1:].ctypes.data))
            found.append(y[1:].copy())
        return np.array(found)

    with ThreadPoolExecutor(8) as pool:
        for image, found in zip(images, pool.map(called, range(8)), strict=True):
            assert (found == found[0]).all()
            np.testing.assert_allclose(found[0], eager(model, image)[0], rtol=1e-5, atol=1e-5)


MODE = """\
#include <xmmintrin.h>
#include "plain.h"
int main(void) {
    static float x[PLAIN_X_SIZE], y[PLAIN_Y_SIZE];
    for (int i = 0; i < PLAIN_X_SIZE; i++) x[i] = 0.1f;
    _mm_setcsr(0x3f80); /* another rounding than usual, and no exception seen */
    plain(x, y);
    return _mm_getcsr() != 0x3f80;
}
"""


@needs_cc
@on_x86
def test_the_processor_is_left_in_the_mode_that_it_was_in(tmp_path):
    files, *_ = exported("plain", 1, tmp_path)
    (tmp_path / "mode.c").write_text(MODE)
    subprocess.run([build([tmp_path / "mode.c", files[0]], tmp_path / "mode")], check=True)


@pytest.mark.skipif(CXX is None, reason="there is no C++ compiler (g++)")
def test_the_header_is_cpp_too(tmp_path):
    files, *_ = exported("plain", 1, tmp_path)
    (tmp_path / "plain.cc").write_text(
        '#include "plain.h"\n#include "plain.h"\n'
        "int main() { static float x[PLAIN_X_SIZE], y[PLAIN_Y_SIZE]; plain(x, y); return 0; }\n"
    )
    program = build([tmp_path / "plain.cc", files[0]], tmp_path / "plain", cc=[CXX], std="c++11")
    subprocess.run([program], check=True)


# --- what is computed when it is exported


@pytest.mark.parametrize("name", ["lenet_all", "silu_mlp", "logarithms"])
def test_what_depends_on_parameters_alone_is_computed_at_the_export(name):
    shape, make = NETWORKS[name]
    model = seasoned(make()).eval()
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    traced = trace(model, (x,), (model,))
    state = {slot.name: slot.get() for slot in traced.slots}
    program = bound(traced.program, state)
    verify(program)
    assert set(program.inputs()) == {"argument 0"}
    free = set()  # of the argument
    for number, step in enumerate(program.instructions):
        if step.primitive != "input" and free.issuperset(step.operands):
            free.add(number)
            assert step.primitive in ("constant", *VIEWS)
    values = interpret(traced.program, {"argument 0": x, **state})
    np.testing.assert_array_equal(interpret(program, {"argument 0": x})["result"], values["result"])


@pytest.mark.parametrize("name", ["lenet_all", "strided", "averaging"])
def test_the_channels_of_constant_factors_lie_together(name):
    shape, make = NETWORKS[name]
    x = np.random.default_rng(0).normal(size=(2, *shape))
    model = seasoned(make()).eval()
    traced = trace(model, (x,), (model,))
    program = bound(traced.program, {slot.name: slot.get() for slot in traced.slots})
    better = turned(program)
    verify(better)
    before, after = (interpret(p, {"argument 0": x})["result"] for p in (program, better))
    np.testing.assert_allclose(after, before, rtol=1e-9)
    weights = [
        (step.parameters["subscripts"], better[i].shape)
        for step in better.instructions
        for i in step.operands
        if step.primitive == "contract" and better[i].primitive == "constant"
    ]
    convolutions = [p.value.shape for p in model.parameters() if p.value.ndim == 4]
    assert [shape[-1] for _, shape in weights if len(shape) > 2] == [shape[0] for shape in convolutions]


EXTENTS = [(1, 1, 1), (1, 1, 2), (1, 2, 1), (1, 2, 2), (2, 1, 1), (2, 1, 2), (2, 2, 1), (2, 2, 2)]


@given(
    st.sampled_from(["ni,oi->no", "i,oi->o", "oi,i->o", "nihw,oihw->no", "i,i->", "a,b->ab", "ab,->ab", "a,->a"]),
    st.data(),
)
def test_constant_factors_have_any_extents(subscripts, data):
    extents = {letter: data.draw(st.integers(1, 3), letter) for letter in "abhinow"}
    rng, program = np.random.default_rng(0), Program()
    terms, _, _ = subscripts.partition("->")
    x, w = (rng.normal(size=[extents[letter] for letter in term]) for term in terms.split(","))
    given = program.add("input", name="x", kind="argument", shape=x.shape, dtype=x.dtype)
    factors = given, program.add("constant", value=w)
    program.outputs.append(Output("y", program.add("contract", *factors, subscripts=subscripts)))
    verify(better := turned(program))
    np.testing.assert_allclose(interpret(better, {"x": x})["y"], interpret(program, {"x": x})["y"], rtol=1e-12)


class Each(nn.Module):
    """Several layers side by side, each with an input and an output of its own."""

    def __init__(self, layers):
        super().__init__()
        self.layers = layers

    def forward(self, *xs):
        return [layer(x) for layer, x in zip(self.layers, xs, strict=True)]


@needs_cc
def test_every_extent_may_be_1(tmp_path):
    vg.seed(0)
    rng, layers, shapes = np.random.default_rng(0), [], []
    for n, i, o in EXTENTS:
        layers += [nn.Linear(i, o), nn.MLP([i, 1, o]), nn.Conv2d(i, o, 1), nn.Conv2d(i, o, (n, 1)), nn.BatchNorm1d(i)]
        shapes += [(n, i), (n, i), (n, i, o, 1), (1, i, n, o), (n, i)]
        layers += [nn.Conv2d(1, o, 2, padding=1, stride=i), nn.LayerNorm(i), nn.MaxPool2d((i, o))]
        shapes += [(n, 1, i, o), (n, i), (1, n, i, o)]
    model, xs = Each(layers), tuple(rng.normal(size=shape).astype(np.float32) for shape in shapes)
    files = vg.export_native(model, xs, tmp_path / "each.o")
    expected = [layer(x).value.ravel() for layer, x in zip(model.eval().layers, xs, strict=True)]
    np.testing.assert_allclose(outputs(files, *xs), np.concatenate(expected), rtol=1e-5, atol=1e-6)


# --- what else a model can be


class Two(nn.Module):
    """Of numbers and positions, several results of several kinds."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(5, 3)

    def forward(self, x, places):
        rows = self.table(places)
        return {"sums": x.sum(axis=1), "rows": (rows * 2, places + 1, x[:, 0] > 0)}


@needs_cc
def test_several_inputs_and_outputs_of_several_kinds(tmp_path):
    vg.seed(0)
    model, rng = Two(), np.random.default_rng(0)
    x, places = rng.normal(size=(4, 6)), rng.integers(5, size=(4, 2))
    files = vg.export_native(model, (x, places), tmp_path / "two.o")
    signature = (
        "(const double *x, const int64_t *places, double *sums, float *rows_0, int64_t *rows_1, uint8_t *rows_2);"
    )
    assert f"void two{signature}" in files[1].read_text()
    y = model(x, places)
    rows, more, positive = y["rows"]
    expected = [np.asarray(getattr(part, "value", part)).ravel() for part in (y["sums"], rows, more, positive)]
    np.testing.assert_allclose(outputs(files, x, places), np.concatenate(expected), rtol=1e-6)


def remembering(module, x):
    """Positions that the first call makes for later ones, and an output that does not depend on the argument."""
    if not hasattr(module, "positions"):
        module.positions = np.arange(4, dtype=np.float32)
    return {"sums": x + module.positions, "twice": module.twice.value * 2}


@needs_cc
def test_what_the_first_call_makes_is_a_constant_and_is_not_left(tmp_path):
    model, x = Given(remembering), np.ones((1, 4), np.float32)
    model.twice = vg.TensorNode(np.array([[1, 2]], np.float32), requires_grad=True)
    files = vg.export_native(model, x, tmp_path / "first.o")
    assert not hasattr(model, "positions")
    np.testing.assert_array_equal(outputs(files, x), [1, 2, 3, 4, 2, 4])


class Signed(nn.Module):
    """A model with arguments and results of some names."""

    def __init__(self, forward):
        super().__init__()
        self.forward = forward


@needs_cc
@pytest.mark.parametrize(
    ("forward", "arguments"),
    [
        (lambda x, mask: {"logits": x + mask, "mask of": mask * 2}, ["x", "mask", "logits", "mask_of"]),
        (lambda x, X: (x + X, X * 2), ["x", "x1", "y0", "y1"]),
        (lambda x, *more: {"named": x + more[0], "int": x * 2}, ["x", "x1", "y0", "y1"]),
        (lambda i, stdin: {"workspace": i + stdin, "y0": i}, ["x0", "x1", "y0", "y1"]),
        (lambda x1, named: {"Named": x1 + named, 3: x1}, ["x0", "x1", "y0", "y1"]),
        (lambda x, y1: {"main": x, "a_t": y1 - x}, ["x", "x1", "y0", "y1"]),
    ],
)
def test_arguments_are_called_as_those_of_the_model(forward, arguments, tmp_path):
    rng = np.random.default_rng(0)
    xs = tuple(rng.normal(size=(2, 3)).astype(np.float32) for _ in range(2))
    files = vg.export_native(Signed(forward), xs, tmp_path / "named.o")
    signature = re.search(r"void named\((.*)\);", files[1].read_text())[1]
    assert re.findall(r"\*(\w+)", signature) == arguments
    y = forward(*xs)
    expected = [part.ravel() for part in (y.values() if isinstance(y, dict) else y)]
    np.testing.assert_allclose(outputs(files, *xs), np.concatenate(expected), rtol=1e-6)


@needs_cc
def test_an_example_that_was_changed_stays(tmp_path):
    vg.seed(0)
    model, x = nn.Linear(2, 1), np.zeros((1, 2), np.float32)
    files = vg.export_native(model, x, tmp_path / "net.o")
    files[2].write_text("mine")
    files[1].write_text("")
    assert vg.export_native(model, x, tmp_path / "net") == files
    assert files[2].read_text() == "mine"
    assert "void net(" in files[1].read_text()


class Foreign:
    """Another library's array, as NumPy's protocol has it."""

    differentiated = False

    def __array__(self, dtype=None, copy=None):
        if self.differentiated:
            raise RuntimeError("it requires grad: use detach()")
        return np.ones((1, 2), np.float32)


def test_an_example_may_be_another_librarys_array(tmp_path):
    example = Foreign()
    files = vg.export_native(nn.Linear(2, 1), example, tmp_path / "net.o")
    assert "reads x: float, 1 x 2" in files[1].read_text()
    example.differentiated = True
    with pytest.raises(TypeError, match=r"NumPy cannot read this Foreign .*use detach\(\)"):
        vg.export_native(nn.Linear(2, 1), example, tmp_path / "net.o")


class Given(nn.Module):
    """A function as a module, with one number as its state."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.count = np.zeros((), np.float32)

    def forward(self, x):
        return self.function(self, x)


@needs_cc
def test_functions_of_libm_are_asked_for(tmp_path):
    x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(1, 12)
    files = vg.export_native(Given(lambda _, x: np.tan(x)), x, tmp_path / "tangent.o")
    assert llvm.missing(files[0].read_bytes()) == ["tanf"]
    assert "tanf" in files[1].read_text()
    assert "-lm" in files[1].read_text()
    np.testing.assert_allclose(outputs(files, x, flags=["-lm"]), np.tan(x).ravel(), rtol=1e-6)


@needs_cc
@on_x86
def test_float64_without_fma_asks_for_it(tmp_path):
    vg.seed(0)
    model, x = nn.MLP([3, 4, 2], nn.Tanh, dtype=np.float64), np.array([[0.1, 0.2, -3.0]])
    files = vg.export_native(model, x, tmp_path / "wide.o", "x86-64")
    assert llvm.missing(files[0].read_bytes()) == ["fma"]
    np.testing.assert_allclose(outputs(files, x, flags=["-lm"]), eager(model, x)[0], rtol=1e-14)


@needs_cc
def test_much_memory_is_the_callers(tmp_path):
    vg.seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 1, 5), nn.MaxPool2d(4))
    x = np.random.default_rng(0).normal(size=(1, 1, 130, 130)).astype(np.float32)
    files = vg.export_native(model, x, tmp_path / "large.o")
    header = files[1].read_text()
    assert "void large(const float *x, float *y, void *workspace);" in header
    assert int(re.search(r"LARGE_WORKSPACE (\d+)", header)[1]) > STACK
    np.testing.assert_allclose(outputs(files, x), eager(model, x).ravel(), rtol=1e-5, atol=1e-5)


@needs_cc
def test_large_constants_take_the_places_that_are_marked_for_them(tmp_path):
    rng, x = np.random.default_rng(0), np.arange(6, dtype=np.float32).reshape(2, 3)
    model = Given(lambda module, x: [table[x.astype(int)] for table in module.tables])
    model.tables = [rng.integers(1 << 40, size=LARGE // 8 + i) for i in (-1, 0, 1)]
    model.tables.append(model.tables[1].astype(np.float64))
    files = vg.export_native(model, x, tmp_path / "table.o")
    expected = [table[x.astype(int)].ravel() for table in model.tables]
    np.testing.assert_array_equal(outputs(files, x), np.concatenate(expected))


def test_the_weights_are_what_an_object_file_is_made_of(tmp_path):
    files, model, _ = exported("lenet", 1, tmp_path)
    weights = [p.value for p in model.parameters()]
    content = files[0].read_bytes()
    assert all((w.transpose(1, 2, 3, 0) if w.ndim == 4 else w).tobytes() in content for w in weights)
    assert len(content) < sum(w.nbytes for w in weights) + 40_000


def test_the_model_is_left_as_it_was(tmp_path):
    vg.seed(0)
    model = nn.LeNet(hidden=(8,), **ALL)
    dict(model.named_modules())["0"].eval()
    before, modes = model.state_dict(), [module.training for _, module in model.named_modules()]
    vg.export_native(model, np.zeros((1, 1, 28, 28), np.float32), tmp_path / "net.o", "x86-64")
    assert [module.training for _, module in model.named_modules()] == modes
    assert all((array == before[name]).all() for name, array in model.state_dict().items())


# --- errors


NAMES = """
3d my-net double while x y workspace kernel0 stage0 _Bool _Static_assert __x _start typeof typeof_unqual main printf
fread stdin stderr FILE EOF NULL uint64_t int32_t size_t mine_t INT8_MAX UINT64_C malloc free memset memcpy exp sinf
sinl y0 j0 read linux NULL.v2 net.c net.h net.onnx net.o.c
"""


@pytest.mark.parametrize("name", [*NAMES.split(), "with space", "é"])
def test_a_name_is_one_that_c_can_have(name, tmp_path):
    file = tmp_path / (name if name.startswith("net.") else f"{name}.o")
    with pytest.raises(ValueError, match=re.escape(name)):
        vg.export_native(nn.Linear(2, 1), np.zeros((1, 2), np.float32), file)
    assert list(tmp_path.iterdir()) == []


def preprocessed(headers, folder, *flags):
    (folder / "all.c").write_text("".join(f"#include <{name}.h>\n" for name in headers))
    command = [CC, "-std=c99", "-E", "-P", *flags, str(folder / "all.c")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@needs_cc
@pytest.mark.skipif(platform.system() != "Linux", reason="other systems' headers declare what they like")
def test_no_name_that_is_free_is_one_of_the_headers(tmp_path):
    macros = re.findall(r"#define (\w+)", preprocessed(["stdio", "stdint"], tmp_path, "-dM"))
    text = preprocessed(["stdio", "stdint", "stdlib", "string", "math"], tmp_path)
    functions = re.findall(r"^extern [^()]*?(\w+) ?\(", text, re.MULTILINE)
    assert min(len(macros), len(functions)) > 100
    assert sorted(name for name in {*macros, *functions} if is_free(name)) == []


@given(st.text(st.characters(codec="utf-8", exclude_characters="/.\0"), min_size=1, max_size=20))
def test_what_is_no_name_is_told_with_one_that_is(tmp_path_factory, stem):
    assert is_free(near(stem))
    if is_free(stem):
        return
    folder = tmp_path_factory.getbasetemp()  # a test gets one folder for all its examples
    with pytest.raises(ValueError, match=f"no name in C, .*: write {near(stem)}[.]o$"):
        vg.export_native(nn.Linear(2, 1), np.zeros((1, 2), np.float32), folder / f"{stem}.o")


def test_a_target_is_one_of_those_that_there_are(tmp_path):
    with pytest.raises(ValueError, match="no target 'aarch46'; did you mean 'aarch64'"):
        vg.export_native(nn.Linear(2, 1), np.zeros((1, 2), np.float32), tmp_path / "net.o", "aarch46")
    for wrong in (None, 3, ["host"]):
        with pytest.raises(TypeError, match=r"the target must be a name, as a string, got .* There are: host, "):
            vg.export_native(nn.Linear(2, 1), np.zeros((1, 2), np.float32), tmp_path / "net.o", wrong)


@pytest.mark.parametrize("example", [None, (), (1, 28, 28), [[0.0]], "x", np.zeros((0, 2)), np.zeros(()), 2.0])
def test_an_example_is_an_array(example, tmp_path):
    with pytest.raises(TypeError, match=re.escape("np.zeros((1, 1, 28, 28), np.float32)")):
        vg.export_native(nn.Linear(2, 1), example, tmp_path / "net.o")


@pytest.mark.parametrize(
    ("model", "example"),
    [(nn.Linear(2, 1), (np.ones((1, 2)),) * 2), (Two(), np.ones((1, 2))), (Signed(lambda *, x: x), np.ones((1, 2)))],
)
def test_an_example_is_as_many_arrays_as_the_model_takes(model, example, tmp_path):
    with pytest.raises(TypeError, match=r"the example does not fit .*forward\(x.*give an array, or a tuple of as many"):
        vg.export_native(model, example, tmp_path / "net.o")


def counting(module, x):
    module.count = module.count + x.value.sum()
    return x


def drawing(module, x):
    module.drawn = getattr(module, "drawn", 0) + 1
    return x * module.drawn


def keeping(module, x):
    module.kept = {"x": x}
    return x


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (counting, "changes its count"),
        (lambda module, x: x if x[0, 0] > 0 else -x, "x"),
        (lambda module, x: 3.0, "result of the Given is the same at every call, 3.0"),
        (lambda module, x: {"y": x, "of": [np.array([10, 20])]}, r"result\['of'\]\[0\] of .*, array\(\[10, 20\]\)"),
        (lambda module, x: (x, None), r"result\[1\] of the Given is the same at every call, None"),
        (lambda module, x: {}, "returns no array"),
        (lambda module, x: {"y": x, "none": x[:0]}, r"result\['none'\] of the Given is an array without elements"),
        (lambda module, x: x + np.random.default_rng().normal(size=x.shape), "not compute the same .* random numbers"),
        (drawing, "not compute the same .* random numbers"),
        (keeping, "An exported model can keep nothing"),
    ],
)
def test_a_model_that_cannot_be_compiled_is_told(function, message, tmp_path):
    with pytest.raises(CannotCompileError, match=message):
        vg.export_native(Given(function), np.zeros((1, 2), np.float32), tmp_path / "net.o")
    assert list(tmp_path.iterdir()) == []


def test_a_parameter_that_the_model_has_not_is_named(tmp_path):
    elsewhere = vg.TensorNode(np.ones((1, 2), np.float32), name="elsewhere", requires_grad=True)
    with pytest.raises(CannotCompileError, match=r"'elsewhere'.* for an export, make it an attribute of the model"):
        vg.export_native(Given(lambda module, x: x * elsewhere), np.zeros((1, 2), np.float32), tmp_path / "net.o")


def test_a_failed_export_leaves_nothing_in_what_the_model_holds(tmp_path):
    model = Given(lambda module, x: module.held.setdefault("x", [x * 2])[0])
    model.held = {"of": [1]}
    with pytest.raises(CannotCompileError, match="keeps an array of its own"):
        vg.export_native(model, np.zeros((1, 2), np.float32), tmp_path / "net.o")
    assert model.held == {"of": [1]}


def test_a_model_is_a_module(tmp_path):
    with pytest.raises(TypeError, match="a Module, and this is a function"):
        vg.export_native(lambda x: x, np.zeros((1, 2), np.float32), tmp_path / "net.o")


def test_a_place_where_nothing_can_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot write"):
        vg.export_native(nn.Linear(2, 1), np.zeros((1, 2), np.float32), tmp_path / "file" / "net.o")


@pytest.mark.parametrize("name", ["q.o", "q.h", "q_example.c"])
def test_all_or_none_of_the_files_are_written(name, tmp_path):
    (tmp_path / name).mkdir()
    with pytest.raises(OSError, match="it is a folder"):
        vg.export_native(nn.Linear(2, 1), np.zeros((1, 2), np.float32), tmp_path / "q.o")
    assert [file.name for file in tmp_path.iterdir()] == [name]


# --- digits in C


def pgm(image, *, comment=b""):
    """A picture of 28×28 pixels as a file's content."""
    return b"P5\n" + comment + b"28 28\n255\n" + image.astype(np.uint8).tobytes()


@needs_cc
def test_a_program_in_c_reads_digits(tmp_path):
    assert len(DIGITS.read_text().splitlines()) <= 60
    vg.seed(0)
    data = vg.data.load("mnist5k")
    model = nn.LeNet()
    optimizer = vg.optim.Adam(model.parameters(), lr=2e-3)
    vg.train.fit(model, data, optimizer=optimizer, epochs=2, batch_size=32, seed=0)
    whole = nn.Sequential(model, nn.Softmax())
    vg.export_native(whole, data.test.x[:1], tmp_path / "network.o")
    program = build([DIGITS, tmp_path / "network.o"], tmp_path / "digits", flags=["-I", str(tmp_path)])
    assert program.stat().st_size < 1 << 20

    def started(*words):
        return subprocess.run([program, *words], capture_output=True, text=True, check=False)

    def said(content):
        (tmp_path / "picture.pgm").write_bytes(content)
        return started(tmp_path / "picture.pgm")

    right = 0
    images, labels = data.test.x[:12], data.test.y[:12]
    for image, label, expected in zip(np.rint(255 * images), labels, eager(whole, images), strict=True):
        for content in (pgm(image), pgm(255 - image, comment=b"# of a digit, 28 pixels high\n#\n")):
            digit, *lines = said(content).stdout.splitlines()
            assert int(digit) == expected.argmax()
            found = np.array([line.split() for line in lines], float)
            np.testing.assert_array_equal(found[:, 0], np.arange(10))
            np.testing.assert_allclose(found[:, 1], expected, atol=6e-5)  # of which four digits are printed
        right += expected.argmax() == label
    assert right >= 10
    wrong = {
        "": "usage: digits picture.pgm",
        "there is none": "there is none: it cannot be opened",
        b"": "does not begin with P5",
        b"P6\n28 28\n255\n": "does not begin with P5",
        b"P5\n27 28\n255\n" + bytes(784): "is not 28 x 28 pixels",
        b"P5\n28 28\n256\n" + bytes(784): "white is not from 1 to 255",
        pgm(images[0])[:-1]: "ends before its last pixel",
    }
    for content, message in wrong.items():
        done = said(content) if isinstance(content, bytes) else started(*filter(None, [content]))
        assert (done.returncode, done.stdout) == (1, "")
        assert message in done.stderr
