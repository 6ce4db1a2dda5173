"""The compiler's own languages: what is refused in array programs and loops, what passes keep, what indices mean."""

import copy as copying
import dataclasses
import itertools

import numpy as np
import pytest
from compiler_floors import MACHINES
from hypothesis import given, settings, strategies as st
from test_compiler_fuzz import Function

from vugrad.compiler.arrays import Instruction, Output, Program, interpret, simplify, verify
from vugrad.compiler.loops.index import Div, Index, Indirect, Var, delinear, linear, of
from vugrad.compiler.loops.interpret import interpret as interpret_loops
from vugrad.compiler.loops.program import (
    AcrossLanes,
    BlockLoop,
    Buffer,
    Call,
    Condition,
    Constant,
    Define,
    Guard,
    Kernel,
    Load,
    Loop,
    LoopProgram,
    Position,
    Read,
    Stage,
    Store,
    Update,
)
from vugrad.compiler.loops.verify import at_most, verify as verify_loops
from vugrad.compiler.lower import lower
from vugrad.compiler.trace import trace

F4, F8, I8, BOOL = (np.dtype(name) for name in ("f4", "f8", "i8", "?"))


# --- array programs


def small():
    """x + x · 2, summed over its rows."""
    program = Program()
    x = program.add("input", name="x", kind="argument", shape=(2, 3), dtype=F8)
    two = program.add("constant", value=np.array(2.0))
    program.outputs.append(
        Output("y", program.add("sum", program.add("add", x, program.add("mul", x, two)), axes=(1,)))
    )
    return program


def test_a_program_is_text_that_can_be_read():
    assert str(small()).splitlines() == [
        "%0: f64[2,3] = input(name=x, kind=argument)",
        "%1: f64[] = constant(value=2.0)",
        "%2: f64[2,3] = mul(%0, %1)",
        "%3: f64[2,3] = add(%0, %2)",
        "%4: f64[2] = sum(%3, axes=(1,))",
        "return y=%4",
    ]


def test_the_interpreter_says_what_a_program_means():
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(interpret(small(), {"x": x})["y"], 3 * x.sum(axis=1))


REFUSED_INSTRUCTIONS = {
    "no primitive": ("frobnicate", (0,), {}, "there is no primitive 'frobnicate'"),
    "shapes": ("add", (0, 2), {}, "broadcast"),
    "dtypes": ("add", (0, 1), {}, "add of dtypes f64, f32: cast them first"),
    "a condition": ("where", (0, 0, 0), {}, "where of dtypes f64, f64, f64"),
    "axes": ("sum", (0,), {"axes": (2,)}, r"sum over axes \(2,\) of shape \(2, 3\)"),
    "axes twice": ("sum", (0,), {"axes": (1, 1)}, r"sum over axes \(1, 1\)"),
    "a largest of none": ("maximum", (3,), {"axes": (0,)}, "maximum over no element"),
    "reshape": ("reshape", (0,), {"shape": (4,)}, r"reshape of \(2, 3\) to \(4,\)"),
    "transpose": ("transpose", (0,), {"axes": (0, 0)}, r"transpose of \(2, 3\) by \(0, 0\)"),
    "broadcast": ("broadcast", (0,), {"shape": (3, 2)}, "broadcast"),
    "slice": ("slice", (0,), {"starts": (0, 1), "steps": (1, 1), "extents": (2, 3)}, r"slice of \(2, 3\) at"),
    "pad": ("pad", (0,), {"widths": ((0, 0, 0), (-1, 0, 0)), "value": 0}, r"pad of \(2, 3\) by"),
    "window": ("window", (0,), {"kernel": (3, 1), "stride": (1, 1)}, r"window \(3, 1\) in shape \(2, 3\)"),
    "concatenate": ("concatenate", (0, 2), {"axis": 0}, r"concatenate of f64\[2,3\], f64\[4\] along axis 0"),
    "contract's letters": ("contract", (0, 0), {"subscripts": "ab,bc->ac"}, "'b' is 3 and 2"),
    "contract's axes": ("contract", (0, 2), {"subscripts": "ab,bc->ac"}, r"'bc' for shape \(4,\)"),
    "gather": ("gather", (0, 2), {"axes": (0,)}, "gather takes one array of i64 for each axis"),
    "scatter": ("scatter", (0, 4), {"axes": (0,), "shape": (7, 3)}, r"scatter of \(2, 3\) at \(5,\) into \(7, 3\)"),
    "a dtype": ("constant", (), {"value": np.zeros(2, complex)}, "not complex128"),
}


@pytest.mark.parametrize("name", REFUSED_INSTRUCTIONS)
def test_instructions_that_do_not_fit_are_refused_by_add_and_by_the_verifier(name):
    primitive, operands, parameters, message = REFUSED_INSTRUCTIONS[name]

    def program():
        made = Program()
        for shape, dtype in (((2, 3), F8), ((2, 3), F4), ((4,), F8), ((0, 2), F8), ((5,), I8)):
            made.add("input", name=f"x{len(made.instructions)}", kind="argument", shape=shape, dtype=dtype)
        return made

    with pytest.raises(ValueError, match=message):
        program().add(primitive, *operands, **parameters)
    wrong = program()
    wrong.instructions.append(Instruction(primitive, operands, parameters, (), F8))
    with pytest.raises(ValueError, match=f"%5 = {primitive}: .*{message}"):
        verify(wrong)


def test_the_verifier_refuses_whole_programs_that_are_wrong():
    verify(small())
    later = small()
    later.instructions[2] = dataclasses.replace(later[2], operands=(0, 3))
    with pytest.raises(ValueError, match=r"%2 = mul uses \(0, 3\): operands must come before it"):
        verify(later)
    lying = small()
    lying.instructions[3] = dataclasses.replace(lying[3], shape=(2, 4))
    with pytest.raises(ValueError, match=r"%3 = add says it is f64\[2,4\], but gives float64 of shape \(2, 3\)"):
        verify(lying)
    twice = small()
    twice.add("input", name="x", kind="state", shape=(2,), dtype=F8)
    with pytest.raises(ValueError, match="two inputs 'x'"):
        verify(twice)
    for output, message in (
        (Output("z", 9), "output 'z' is %9, which there is not"),
        (Output("z", 4, into="p"), "output 'z' goes into 'p', which is no input"),
        (Output("z", 4, into="x"), r"output 'z' is f64\[2\], and 'x' is f64\[2,3\]"),
    ):
        wrong = small()
        wrong.outputs.append(output)
        with pytest.raises(ValueError, match=message):
            verify(wrong)


# --- passes


def recorded(f, *arguments):
    return trace(f, arguments).program


def test_equal_results_are_computed_once_and_constants_now():
    x = np.ones(3)
    program = recorded(lambda x: np.exp(x) + np.exp(x) * (2.0 * np.arange(3) + 1), x)
    assert [i.primitive for i in program.instructions] == ["input", "exp", "constant", "mul", "add"]
    assert program[2].parameters["value"].tolist() == [1, 3, 5]


def test_what_nobody_needs_goes_and_neutral_operations_too():
    def f(x):
        np.sin(x)
        return ((x * 1.0) / 1 - 0).reshape(3, 1).reshape(3).astype(x.dtype).T

    assert [i.primitive for i in recorded(f, np.ones(3)).instructions] == ["input"]


def test_zero_is_added_where_it_makes_a_difference():
    assert "add" in str(recorded(lambda x: x + 0.0, np.ones(3)))  # of −0.0 it makes 0.0
    assert "mul" in str(recorded(lambda x: x * 0.0, np.ones(3)))  # of infinity it makes NaN
    assert "sub" in str(recorded(lambda x: x - x, np.ones(3)))


def test_constants_are_copies_of_the_arrays_they_come_from():
    table = np.arange(3.0)
    program = recorded(lambda x: x * table, np.ones(3))
    table[:] = 7
    np.testing.assert_array_equal(interpret(program, {"argument 0": np.ones(3)})["result"], [0, 1, 2])


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6))
def test_passes_keep_what_a_program_means(seed):
    with np.errstate(all="ignore"):
        f = Function(seed)
    traced = trace(f, tuple(f.arguments), tuple(f.nodes))
    program, again = traced.program, simplify(traced.program)
    verify(again)
    assert len(again.instructions) <= len(program.instructions)
    given_ = {f"argument {i}": x for i, x in enumerate(f.arguments)}
    given_ |= {slot.name: np.array(slot.get()) for slot in traced.slots}
    expected, found = interpret(program, given_), interpret(again, given_)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


# --- indices

VARIABLES = (Var("a", 2), Var("b", 3), Var("c", 5), Var("d", 4))
ATOMS = st.sampled_from(VARIABLES).map(of)
INDICES = st.recursive(
    st.one_of(ATOMS, st.integers(-9, 9).map(of)),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda p: p[0] + p[1]),
        st.tuples(inner, st.integers(-6, 6)).map(lambda p: p[0] * p[1]),
        st.tuples(inner, st.integers(1, 7)).map(lambda p: p[0] // p[1]),
        st.tuples(inner, st.integers(1, 7)).map(lambda p: p[0] % p[1]),
    ),
    max_leaves=7,
)
#: The same expressions as nested tuples, worked out by Python itself.
TREES = st.recursive(
    st.one_of(st.sampled_from(VARIABLES), st.integers(-9, 9)),
    lambda inner: st.one_of(
        st.tuples(st.just("+"), inner, inner),
        *(st.tuples(st.just(sign), inner, st.integers(1, 7)) for sign in ("*", "//", "%")),
        st.tuples(st.just("*"), inner, st.integers(-6, 0)),
    ),
    max_leaves=8,
)


def worked_out(tree, values):
    if isinstance(tree, Var):
        return values[tree]
    if isinstance(tree, int):
        return tree
    sign, x, y = tree
    x, y = worked_out(x, values), worked_out(y, values)
    return {"+": lambda: x + y, "*": lambda: x * y, "//": lambda: x // y, "%": lambda: x % y}[sign]()


def as_index(tree):
    return worked_out(tree, {v: of(v) for v in VARIABLES}) if not isinstance(tree, int) else of(tree)


def every_value():
    for numbers in itertools.product(*(range(v.extent) for v in VARIABLES)):
        yield dict(zip(VARIABLES, numbers, strict=True))


def value(index, values):
    """An index worked out atom by atom."""
    total = index.constant
    for atom, c in index.terms.items():
        if isinstance(atom, Var):
            total += c * values[atom]
        else:
            inner = value(atom.index, values)
            total += c * (inner // atom.k if isinstance(atom, Div) else inner % atom.k)
    return total


@settings(max_examples=300)
@given(tree=TREES)
def test_an_index_in_normal_form_has_the_same_values_and_they_are_in_its_range(tree):
    index = as_index(tree)
    index = of(index) if isinstance(index, int) else index
    low, high = index.range()
    for values in every_value():
        expected = worked_out(tree, values)
        assert value(index, values) == expected
        assert low <= expected <= high
    assert index.number() is None or index.constant == expected


@settings(max_examples=200)
@given(index=INDICES, to=st.tuples(INDICES, INDICES))
def test_substitution_is_evaluation_of_what_is_put_in(index, to):
    put = dict(zip(VARIABLES, to, strict=False))
    new = index.substitute(put)
    for values in every_value():
        inner = {v: value(put[v], values) if v in put else values[v] for v in VARIABLES}
        assert value(new, values) == value(index, inner)


@settings(max_examples=200)
@given(index=INDICES, var=st.sampled_from(VARIABLES))
def test_the_coefficient_of_a_variable_is_by_how_much_the_index_grows(index, var):
    c = index.coefficient(var)
    if c is not None:
        for values in every_value():
            if values[var] + 1 < var.extent:
                assert value(index, {**values, var: values[var] + 1}) - value(index, values) == c


@given(shape=st.lists(st.integers(1, 4), max_size=4))
def test_a_place_in_memory_and_back(shape):
    places = tuple(of(Var(f"i{k}", n)) for k, n in enumerate(shape))
    back = delinear(linear(places, shape), tuple(shape)) if shape else ()
    assert back == tuple(p if n > 1 else Index() for p, n in zip(places, shape, strict=True))


@settings(max_examples=300)
@given(index=INDICES, conditions=st.lists(INDICES, max_size=4), slack=st.integers(-3, 3))
def test_what_the_verifier_takes_for_sure_is_sure(index, conditions, slack):
    """Where all conditions are at least 0, no value is larger than a limit that ``at_most`` grants."""
    allowed = [v for v in every_value() if all(value(c, v) >= 0 for c in conditions)]
    if allowed:
        largest = max(value(index, v) for v in allowed)
        assert not at_most(index, largest - 1, tuple(conditions))
        if at_most(index, largest + slack, tuple(conditions)):
            assert slack >= 0


def test_indices_as_text():
    h, w = of(Var("h", 4)), of(Var("w", 6))
    assert str(6 * h + w) == "6h+w"
    assert 6 * ((6 * h + w) // 6) + (6 * h + w) % 6 == 6 * h + w
    assert str((h + 1) // 3 - w) == "(h+1)//3-w"
    assert (h // 2) // 2 == h // 4 == Index()
    assert (2 * h + 1) % 2 == of(1)


# --- loops


def program_of(*body, buffers, threads=1, block=None):
    thread = Var("t", threads)
    kernel = Kernel("k", list(body), [])
    part = BlockLoop(block, [kernel]) if block else kernel
    return LoopProgram(list(buffers), [Stage(thread, [part])], threads, 1)


X, OUT = Buffer("x", F8, 10, "argument"), Buffer("out", F8, 10, "output")
ROW, J = Var("i", 10), Var("j", 4)
LANE = Var("lane", 4)


def copy(index, size=10, at=None, conditions=()):
    return Loop(Var("i", size), [Store(OUT, index if at is None else at, Load(X, index), conditions=conditions)])


REFUSED_LOOPS = {
    "a read beyond the end": (
        Loop(ROW, [Store(OUT, of(ROW), Load(X, of(ROW) + 1))]),
        r"kernel 'k': x\[i\+1\] may be anywhere from 1 to 10, of 10 elements",
    ),
    "a read before the beginning": (
        Loop(ROW, [Store(OUT, of(ROW), Load(X, of(ROW) - 1))]),
        r"x\[i-1\] may be anywhere from -1",
    ),
    "a write beyond the end": (
        Loop(ROW, [Store(OUT, of(ROW) * 2, Load(X, of(ROW)))]),
        r"out\[2i\] may be anywhere from 0 to 18",
    ),
    "an undefined variable": (Store(OUT, of(J), Constant(0, F8)), "j has no value in j"),
    "an unguarded ragged access": (
        Loop(Var("b", 3), [Loop(LANE, [Store(OUT, of(Var("b", 3)) * 4 + of(LANE), Constant(0, F8))], "lanes")]),
        r"out\[4b\+lane\] may be anywhere from 0 to 11, of 10 elements",
    ),
    "a guard that guards something else": (
        Loop(ROW, [Store(OUT, of(ROW), Guard((Condition(of(7) - of(ROW)),), Load(X, of(ROW) + 3), Constant(0, F8)))]),
        r"x\[i\+3\] may be",
    ),
    "the other side of a guard": (
        Loop(ROW, [Store(OUT, of(ROW), Guard((Condition(of(6) - of(ROW)),), Constant(0, F8), Load(X, of(ROW) - 8)))]),
        r"x\[i-8\] may be",
    ),
    "an unknown local": (Loop(ROW, [Store(OUT, of(ROW), Read("v", (), F8))]), "v is read before it is defined"),
    "an update of nothing": (
        Loop(ROW, [Update("acc", (), "sum", Constant(1, F8))]),
        "acc is updated before it is defined",
    ),
    "a buffer from elsewhere": (
        Loop(ROW, [Store(Buffer("y", F8, 10, "output"), of(ROW), Constant(0, F8))]),
        "y is no buffer of the program",
    ),
    "lanes within lanes": (Loop(LANE, [Loop(Var("l", 2), [], "lanes")], "lanes"), "lanes within lanes"),
    "lanes at one place": (
        Loop(LANE, [Store(OUT, of(0), Load(X, of(LANE)))], "lanes"),
        r"different lanes are stored at one place, out\[0\]",
    ),
    "rows by wrong steps": (
        Loop(ROW, [Store(OUT, of(ROW), Load(X, Index({Indirect(Load(X, of(ROW)), None): 3})))]),
        r"picks rows of 0 by steps of 3",
    ),
    "a loop's bound": (Loop(ROW, [], upper=(of(J),)), "j has no value in j"),
    "a position read beyond the end": (
        Loop(ROW, [Store(OUT, of(ROW), Load(X, Index({Indirect(Load(X, of(ROW) + 2), 10): 1})))]),
        r"x\[i\+2\] may be",
    ),
}


@pytest.mark.parametrize("name", REFUSED_LOOPS)
def test_loops_that_could_touch_what_is_not_theirs_are_refused(name):
    body, message = REFUSED_LOOPS[name]
    with pytest.raises(ValueError, match=message):
        verify_loops(program_of(body, buffers=[X, OUT]))


@pytest.mark.parametrize("name", [name for name, (_, message) in REFUSED_LOOPS.items() if "may be" in message])
def test_what_cannot_be_proved_can_be_kept_within(name):
    body, x, out = copying.deepcopy((REFUSED_LOOPS[name][0], X, OUT))
    program = program_of(body, buffers=[x, out])
    verify_loops(program, mend=True)
    verify_loops(program)
    interpret_loops(program, {x: np.arange(10.0), out: np.zeros(10)})


ACCEPTED = {
    "every element": copy(of(ROW)),
    "bounds of the loop": Loop(
        ROW,
        [
            Store(OUT, of(ROW), Constant(0, F8)),
            Loop(
                J,
                [Store(OUT, of(ROW) + of(J), Load(X, of(ROW) - of(J)))],
                lower=(),
                upper=(of(10) - of(ROW), of(ROW) + 1),
            ),
        ],
    ),
    "a ragged last block": Loop(
        Var("b", 3),
        [
            Loop(
                LANE,
                [
                    Store(
                        OUT,
                        of(Var("b", 3)) * 4 + of(LANE),
                        Constant(1, F8),
                        conditions=(Condition(of(9) - of(Var("b", 3)) * 4 - of(LANE)),),
                    )
                ],
                "lanes",
            )
        ],
    ),
    "both sides of a guard": Loop(
        ROW, [Store(OUT, of(ROW), Guard((Condition(of(6) - of(ROW)),), Load(X, of(ROW) + 3), Load(X, of(ROW) - 7)))]
    ),
    "only even places": Loop(
        ROW,
        [
            Store(
                OUT,
                of(ROW),
                Guard((Condition(of(ROW) % 2, zero=True),), Load(X, of(ROW) // 2 * 2 + 1), Constant(0, F8)),
            )
        ],
    ),
    "a position kept within": Loop(ROW, [Store(OUT, of(ROW), Load(X, Index({Indirect(Load(X, of(ROW)), 10): 1})))]),
    "a sum over lanes at one place": Loop(
        LANE,
        [Define("acc", (), Load(X, of(LANE))), Store(OUT, of(3), AcrossLanes("sum", Read("acc", (), F8)))],
        "lanes",
    ),
    "a loop that never runs": Loop(Var("n", 0), [Store(OUT, of(99), Constant(0, F8))]),
}
RESULTS = {
    "every element": lambda x: x,
    "a ragged last block": lambda x: np.ones(10),
    "both sides of a guard": lambda x: np.concatenate([x[3:], x[:3]]),
    "only even places": lambda x: np.where(np.arange(10) % 2, 0, np.roll(x, -1)),
    "a position kept within": lambda x: x[x.astype(int)],
    "a sum over lanes at one place": lambda x: np.where(np.arange(10) == 3, x[:4].sum(), 0),
    "a loop that never runs": lambda x: np.zeros(10),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_loops_that_stay_within_are_accepted_and_interpreted(name):
    program = program_of(ACCEPTED[name], buffers=[X, OUT])
    verify_loops(program)
    x, out = np.random.default_rng(0).permutation(10).astype(float), np.zeros(10)
    interpret_loops(program, {X: x, OUT: out})
    if name in RESULTS:
        np.testing.assert_array_equal(out, RESULTS[name](x))


def test_a_loop_program_is_text_that_can_be_read():
    body = Loop(
        ROW,
        [Define("v", (), Call("mul", (Load(X, of(ROW)), Constant(2, F8)), F8)), Store(OUT, of(ROW), Read("v", (), F8))],
    )
    text = str(program_of(body, buffers=[X, OUT], threads=2))
    for line in ("x: f64[10] argument", "stage 0", "# k", "for i in 0 … 10:", "v = (x[i] · 2)", "out[i] = v"):
        assert line in text, line


def test_interpreted_threads_have_their_own_scratch_and_share_temporaries():
    own, shared = Buffer("own", F8, 1, "scratch"), Buffer("shared", F8, 2, "temporary")
    thread = Var("t", 2)
    first = Kernel(
        "a", [Store(own, of(0), Position(of(thread) + 5, F8)), Store(shared, of(thread), Load(own, of(0)))], []
    )
    second = Kernel("b", [Loop(Var("i", 2), [Store(OUT, of(Var("i", 2)), Load(shared, of(Var("i", 2))))])], [])
    program = LoopProgram([own, shared, OUT], [Stage(thread, [first]), Stage(thread, [second])], 2, 1)
    verify_loops(program)
    out = np.zeros(10)
    interpret_loops(program, {OUT: out})
    assert out[:2].tolist() == [5, 6]


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: f"{8 * m.vector_bytes} bits")
def test_a_kernel_that_was_made_wrong_does_not_pass(machine):
    """Each index of a lowered program, moved by the size of its buffer, is found out."""
    lowered = lower(recorded(lambda x, w: np.tanh(x @ w).sum(axis=0), np.ones((37, 5)), np.ones((5, 3))), machine)
    verify_loops(lowered.loops)

    def stores(body):
        for x in body:
            yield from stores(x.body) if isinstance(x, Loop) else [x] if isinstance(x, Store) else []

    found = 0
    for stage in lowered.loops.stages:
        for kernel in stage.kernels():
            for store in stores(kernel.body):
                right, store.index = store.index, store.index + store.buffer.size
                with pytest.raises(ValueError, match="may be anywhere"):
                    verify_loops(lowered.loops)
                store.index = right
                found += 1
    assert found >= 4
    verify_loops(lowered.loops)
