"""The explanation of a plan: nothing is missing from it, its numbers are right, and it changes nothing."""

import numpy as np
import pytest
from typer.testing import CliRunner

import vugrad as vg
from vugrad.cli import app
from vugrad.compiler import profile as timing
from vugrad.compiler.explain import FLOORS
from vugrad.compiler.explain.memory import layouts, totals
from vugrad.compiler.explain.work import work
from vugrad.compiler.loops.index import Var, of
from vugrad.compiler.loops.program import (
    Buffer,
    Call,
    Constant,
    Define,
    Kernel,
    Load,
    Loop,
    LoopProgram,
    Read,
    Stage,
    Store,
    Update,
)

BATCH = 64


@pytest.fixture(autouse=True)
def two_threads_and_a_known_machine(monkeypatch):
    vg.set_threads(2)
    monkeypatch.setattr(timing, "ROUNDS", 2)  # what is measured, and how often, makes no difference here
    monkeypatch.setattr(timing, "SECONDS", 0.001)
    monkeypatch.setattr(timing, "machine", lambda threads: timing.Limits(1e11, 5e10, 1e11, 1e10))
    yield
    vg.set_threads(None)


def training_step(shape=(12,), layers=(12, 32, 10)):
    """A compiled step, its arguments, and its network and optimizer."""
    vg.seed(0)
    network = vg.nn.MLP(list(layers))
    optimizer = vg.optim.Adam(network.parameters())

    def step(x, y):
        optimizer.zero_grad()
        loss = vg.losses.cross_entropy(network(x), y)
        loss.backward()
        optimizer.step()
        return loss

    rng = np.random.default_rng(0)
    arguments = rng.random((BATCH, *shape), np.float32), rng.integers(0, layers[-1], BATCH)
    return vg.compile(step, state=[network, optimizer]), arguments, network, optimizer


def find(works, name, shape, plan):
    """The kernel with a title whose first result has a shape."""
    program = plan.trace.program
    mine = [w for w in works if w.kernel.name.startswith(name) and program[w.kernel.computes[0]].shape == shape]
    assert len(mine) == 1
    return mine[0]


# --- the print-out


def test_every_floor_and_every_kernel_is_there():
    step, arguments, _, _ = training_step()
    text = step.explain(*arguments, full=True)
    plan = step.plan(*arguments)
    for title in ("1  What", "2  The array program", "3  The kernels", "4  Memory", "5  Time"):
        assert f"\n{title}" in f"\n{text}"
    for number, x in enumerate(plan.trace.program.instructions):
        if x.family != "source":
            assert f"%{number} " in text
            assert f"{x.type} = {x.primitive}" in text
    works = work(plan.lowered.loops)
    for w in works:
        assert f"  kernel {w.number}: {w.kernel.name}" in text
    for buffer in plan.arena.offsets:
        assert f"\n  {buffer.name} " in text
    for source in ("BatchMM.forward", "ReLU.backward", "optimizers.py:"):
        assert source in text
    assert "waiting, calls" in text
    assert all("numbers" not in line or len(line) <= 100 for line in text.splitlines())


def test_what_is_not_full_is_short_and_fits():
    step, arguments, _, _ = training_step()
    text = step.explain(*arguments)
    assert "which --full shows" in text
    assert "small: " in text
    assert max(map(len, text.splitlines())) <= 100
    assert len(text) < len(step.explain(*arguments, full=True))


def test_one_floor_one_kernel():
    step, arguments, _, _ = training_step()
    titles = {floor: step.explain(*arguments, floor=floor) for floor in FLOORS}
    assert [sum(line[:1].isdigit() for line in text.splitlines()) for text in titles.values()] == [2] * len(FLOORS)
    assert "define internal void @kernel" in titles["llvm"]
    one = step.explain(*arguments, floor="loops", kernel=0)
    assert one.count("\n  kernel 0: ") == 1
    assert "\n  kernel 1: " not in one
    with pytest.raises(ValueError, match="no floor 'loop'; did you mean 'loops'"):
        step.explain(*arguments, floor="loop")
    with pytest.raises(ValueError, match="no kernel 999: this plan has the kernels 0 to"):
        step.explain(*arguments, kernel=999)


def test_a_function_of_nothing_and_a_plan_without_arguments():
    f = vg.compile(lambda x: x + 1)
    assert "Nothing is stored between kernels" in f.explain(np.ones((), np.float32))
    f = vg.compile(lambda x: x)
    text = f.plan(np.ones(3, np.float32)).explain()
    assert "Not measured" in text
    assert "→ f32[3]" in text


def test_where_there_is_no_cycle_counter(monkeypatch):
    step, arguments, _, _ = training_step()
    plan = step.plan(*arguments)
    elsewhere = timing.llvm.Target("arm64-apple-darwin", "apple-m1", "", 16)
    monkeypatch.setattr(plan, "target", elsewhere)
    assert "Not measured: kernels are timed by the cycle counter" in plan.explain(*arguments, floor="time")


# --- its numbers


def test_operations_and_bytes_are_those_counted_by_hand():
    step, arguments, _, _ = training_step()
    plan = step.plan(*arguments)
    works = work(plan.lowered.loops)
    first = find(works, "contract + max", (BATCH, 32), plan)  # x @ W.T + b, and its positive part
    assert first.flop == 2 * BATCH * 12 * 32 + BATCH * 32 + BATCH * 32
    assert sorted(first.reads.values()) == sorted([4 * BATCH * 12, 4 * 12 * 32, 4 * 32])
    assert set(first.writes.values()) == {4 * BATCH * 32}
    largest = find(works, "maximum", (BATCH,), plan)  # of the logits, to which the bias is added here
    assert largest.flop == 2 * BATCH * 10
    total = sum(w.flop for w in works)
    products = 2 * BATCH * (2 * 12 * 32 + 3 * 32 * 10)  # the first layer needs no gradient of its input
    assert products < total < 1.5 * products
    fetch = next(w for w in works if w.kernel.name == "fetch" and w.run_by == "blocks")
    assert (fetch.flop, fetch.intensity) == (0, 0.0)
    assert all(w.run_by in ("blocks", "threads", "one thread") for w in works)


def test_operations_of_a_convolution_are_those_counted_by_hand():
    rng = np.random.default_rng(0)
    x, w = rng.random((BATCH, 3, 12, 12), np.float32), rng.random((8, 3, 5, 5), np.float32)
    gradients = vg.grad(lambda x, w: np.sum(vg.ops.Conv2d.do_forward(x, w) ** 2), argnums=(0, 1))
    plan = vg.compile(gradients).plan(x, w)
    works = work(plan.lowered.loops)
    once = 2 * BATCH * 8 * 8 * 8 * 3 * 5 * 5  # forward; the gradients of x and of the weights are as much each
    *others, a, b, c = sorted(w.flop for w in works)
    assert all(once <= flop < 1.05 * once for flop in (a, b, c))
    assert sum(others) < 0.2 * once


def test_loops_whose_bounds_depend_on_others_are_counted_turn_by_turn():
    t, h, k, lane = Var("t", 2), Var("h", 7), Var("k", 4), Var("lane", 8)
    x, y = Buffer("x", np.dtype("f4"), 1000, "state"), Buffer("y", np.dtype("f4"), 56, "state")
    term = Call("mul", (Load(x, 8 * of(h) + of(lane)), Load(x, of(k))), x.dtype)
    inner = Loop(k, [Update("acc", (), "sum", term)], "serial", (of(h) - 4,), (of(h) + 1,))
    store = Store(y, 8 * of(h) + of(lane), Read("acc", (), y.dtype))
    body = [Define("acc", (), Constant(0.0, y.dtype)), inner, store]
    rows = Loop(h, [Loop(lane, body, "lanes")], "serial", (4 * of(t),), (4 * of(t) + 4,))
    (w,) = work(LoopProgram([x, y], [Stage(t, [Kernel("example", [rows], [])])], 2, 8))
    turns = sum(len(range(max(0, i - 4), min(4, i + 1))) for i in range(7))
    assert w.flop == 2 * 8 * turns
    assert (w.reads[x], w.writes[y]) == (4 * 9 * turns, 4 * 56)
    assert w.intensity == w.flop / w.nbytes


@pytest.mark.parametrize("threads", [1, 2])
def test_the_count_is_the_same_on_any_number_of_threads(threads):
    vg.set_threads(threads)
    step, arguments, _, _ = training_step()
    works = work(step.plan(*arguments).lowered.loops)
    assert sum(w.flop for w in works if "max" in w.kernel.name and "contract" in w.kernel.name) == 53_248


def test_memory_adds_up():
    step, arguments, network, optimizer = training_step()
    plan = step.plan(*arguments)
    text = plan.explain(floor="memory", full=True)
    total, arena = totals(plan), plan.arena
    own = [b for b in plan.lowered.loops.buffers if b.role in ("temporary", "scratch")]
    assert set(own) == set(arena.offsets)
    assert total["scratch"] == plan.threads * sum(b.nbytes for b in own if b.role == "scratch")
    assert total["temporary"] == sum(b.nbytes for b in own if b.role == "temporary")
    assert arena.size <= total["scratch"] + total["temporary"] + 64 * len(own)
    parameters = [p.value for p in network.parameters()]
    moments = [array for entry in optimizer.state for array in entry.values() if isinstance(array, np.ndarray)]
    assert total["state"] == sum(array.nbytes for array in (*parameters, *moments))
    given = sum(n for role, n in total.items() if role not in ("temporary", "scratch"))
    assert f"all in all      {(given + arena.size) / 1024:.1f} KiB" in text
    lanes = plan.lowered.loops.lanes
    for buffer, (what, shape) in layouts(plan).items():
        copies, _, extents = shape.rpartition(" × ")
        assert int(copies or 1) * np.prod([int(n) for n in extents.strip("[]").split("][")]) == buffer.size, what
        assert buffer.role != "scratch" or shape.endswith(f"[{lanes}]")


# --- the times


def test_profiling_changes_nothing():
    step, arguments, network, optimizer = training_step()
    step(*arguments)
    plan = step.plan(*arguments)

    def everything():
        entries = [value for entry in optimizer.state for value in entry.values()]
        return [np.array(value) for value in (*(p.value for p in network.parameters()), *entries, optimizer.lr)]

    before, places = everything(), [p.value for p in network.parameters()]
    found = plan.profile(*arguments, repeats=5)
    assert all(np.array_equal(a, b) for a, b in zip(before, everything(), strict=True))
    assert all(a is p.value for a, p in zip(places, network.parameters(), strict=True))
    assert found.steps == 5
    assert found.kernels.shape == (len(work(plan.lowered.loops)), plan.threads)
    assert found.kernels.min() >= 0
    assert (found.kernels.sum(axis=1) > 0).all()
    assert 0 < found.kernels.sum(axis=0).max() <= 1.05 * found.counted
    assert sum(found.share(i) for i in range(len(found.kernels))) + found.rest == pytest.approx(1)


def test_a_copy_computes_what_the_plan_does():
    step, arguments, network, _ = training_step()
    plan = step.plan(*arguments)
    for other in (plan.copied(), plan.copied(profile=True)):
        before = [p.value.copy() for p in network.parameters()]
        expected = [float(plan.copied().run(*arguments).value) for _ in range(2)]
        assert float(other.run(*arguments).value) == expected[0] == expected[1]
        assert float(other.run(*arguments).value) < expected[0]  # it has a state of its own, which it trains
        assert all(np.array_equal(a, p.value) for a, p in zip(before, network.parameters(), strict=True))


def test_the_limit_of_a_kernel():
    machine = timing.Limits(f32=1e9, f64=5e8, near=1e9, far=1e8)
    assert machine.least(1000, 10, 10) == (1e-6, "compute")
    assert machine.least(1000, 10, 10, double=True) == (2e-6, "compute")
    assert machine.least(0, 1000, 10) == (1e-6, "memory")
    assert machine.least(0, 1000, 1 << 40) == (1e-5, "memory")


def test_a_busy_machine_is_noticed(monkeypatch):
    step, arguments, _, _ = training_step()
    words = "something else kept the machine busy"
    monkeypatch.setattr(timing, "machine", lambda threads: timing.Limits(1e16, 1e16, 1e16, 1e16))
    assert words not in step.explain(*arguments, floor="time", full=True)
    monkeypatch.setattr(timing, "machine", lambda threads: timing.Limits(1e3, 1e3, 1e16, 1e16))
    assert words in step.explain(*arguments, floor="time", full=True)


def test_the_machine_is_measured(monkeypatch):
    monkeypatch.setattr(timing, "ROUNDS", 1)
    monkeypatch.setattr(timing, "EDGES", (64,))
    monkeypatch.setattr(timing, "LARGE_COPY", 1 << 20)
    found = timing.measured(2)
    assert min(found.f32, found.f64, found.near, found.far) > 1e6


# --- the command


def invoke(*arguments):
    result = CliRunner().invoke(app, ["explain", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_command():
    output = invoke("--data", "digits", "--hidden", "8", "--optimizer", "sgd", "--batch-size", "20")
    assert "step(f32[20,1,8,8], i64[20]) → f32[]" in output
    for word in ("BatchMM.backward", "3  The kernels", "all in all", "of the limit"):
        assert word in output
    assert max(map(len, output.splitlines())) <= 100
    assert "f32[16,6,5,5]" in invoke("--floor", "arrays", "--batch-size", "8")  # the convolutional network
    with pytest.raises(ValueError, match="did you mean 'mnist5k'"):
        invoke("--data", "minst5k")
