"""What cannot be compiled says so, and how to write it; what goes wrong around a plan harms nothing."""

import gc
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from compiler_kernels import HOST, LESSER
from test_ops import StudentReLU

import vugrad as vg
from vugrad import losses, nn, optim
from vugrad.compiler import CannotCompileError, plan as plan_module
from vugrad.compiler.machine import cache, llvm, team, threads
from vugrad.compiler.plan import Recent

X = np.ones((5, 3), np.float32)
Y = np.array([0, 1, 0, 1, 1])


@pytest.fixture(autouse=True)
def _code_of_this_run(monkeypatch, tmp_path):
    monkeypatch.setenv("VUGRAD_CACHE", str(tmp_path / "code"))
    monkeypatch.setattr("vugrad.compiler.plan._codes", Recent(0))  # so that it is the disk's which is asked
    monkeypatch.delenv("VUGRAD_THREADS", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


# --- what cannot be recorded


def writes(x):
    y = 2 * x
    y[0] = 1
    return y


def branches(x):
    return x if (x > 0).all() else -x


def changes_a_view(x):
    y = x[1:]
    y += 1
    return x


def uses_the_old_one(x):
    y = 2 * x
    z = y
    y += 1
    return y * z


REFUSED = {
    "item assignment": (writes, r"`y\[0\] = 1`: .* written into .* np.where\(mask, value, x\)"),
    "a branch": (branches, r"a branch needs the numbers .* np.where\(condition, x, y\)"),
    "float()": (lambda x: x * float(x.sum()), r"float\(\) needs the numbers"),
    "int()": (lambda x: x * int(x.sum()), r"int\(\) needs the numbers"),
    ".item()": (lambda x: x * x.sum().item(), r"\.item\(\) needs the numbers"),
    ".tolist()": (lambda x: x.tolist(), r"\.tolist\(\) needs the numbers"),
    "an index": (lambda x: [1, 2][x.sum()], r"a Python index needs the numbers .* np.take"),
    "np.asarray": (lambda x: np.asarray(x) * 2, "without np.asarray or np.array"),
    "np.array": (lambda x: np.array([x[0], x[1]]), "without np.asarray or np.array"),
    "a changed view": (changes_a_view, r"`y \+= 1`: a view of another array is changed in place"),
    "in place, then the old one": (uses_the_old_one, r"`return y \* z`: .* changed in place before, at .*:\d+"),
    "an unknown function": (lambda x: np.sort(x), r"np\.sort cannot be compiled"),
    "an unknown ufunc": (lambda x: np.arctan2(x, x), r"np\.arctan2 cannot be compiled"),
    "a ufunc's method": (lambda x: np.add.accumulate(x), r"np\.add\.accumulate cannot be compiled"),
    "out=": (lambda x: np.exp(x, out=x), r"np\.exp writes into an array in place"),
    "a mask": (lambda x: x[x > 0], r"x\[mask\] has a shape that depends on the numbers: write np\.where"),
    "Fortran's order": (lambda x: np.reshape(x, -1, order="F"), "order='F' cannot be compiled"),
    "padding by edges": (lambda x: np.pad(x, 1, mode="edge"), "only with a constant"),
    "complex numbers": (lambda x: x * 1j, "complex128 cannot be compiled: use float32, float64"),
    "half precision": (lambda x: x.astype(np.float16), "float16 cannot be compiled"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_compiled_names_the_line_and_the_pure_way(name):
    function, message = REFUSED[name]
    with pytest.raises(CannotCompileError, match=message) as caught:
        vg.compile(function)(X)
    assert f"test_compiler_errors.py:{caught.traceback[-1].lineno}" not in str(caught.value), "a line of the compiler"
    assert "test_compiler_errors.py:" in str(caught.value)


def test_the_op_is_named_whose_body_cannot_be_recorded():
    class Clipped(vg.Op):
        @staticmethod
        def forward(context, x):
            y = x * 1
            y[y > 1] = 1
            return y

        @staticmethod
        def backward(context, go):
            return go

    class Signed(vg.Op):
        @staticmethod
        def forward(context, x):
            return x * 1

        @staticmethod
        def backward(context, go):
            return go if go.sum() > 0 else -go

    with pytest.raises(
        CannotCompileError, match=r"in Clipped\.forward, test_compiler_errors\.py:\d+, `y\[y > 1\] = 1`"
    ):
        vg.compile(lambda x: Clipped.do_forward(vg.TensorNode(x)))(X)
    with pytest.raises(CannotCompileError, match=r"in Signed\.backward, test_compiler_errors\.py:\d+, `return go if"):
        vg.compile(lambda x: vg.grad(lambda n: np.sum(Signed.do_forward(n)))(x))(X)
    assert Clipped.do_forward(vg.TensorNode(2 * X)).value.max() == 1, "eager it works"


def test_students_ops_are_compiled():
    class Leaky(vg.Op):
        @staticmethod
        def forward(context, input):
            context["input"] = input
            return np.where(input > 0, input, 0.1 * input)

        @staticmethod
        def backward(context, goutput):
            return goutput * ((context["input"] > 0).astype(float) * 0.9 + 0.1)

    class Net(vg.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = vg.nn.Linear(3, 4), vg.nn.Linear(4, 2)

        def parameters(self):
            return self.first.parameters() + self.second.parameters()

        def forward(self, x):
            return self.second(Leaky.do_forward(StudentReLU.do_forward(self.first(x)) - 0.5))

    x = np.random.default_rng(0).normal(size=(21, 3)).astype(np.float32)
    values = []
    for compiled in (False, True):
        vg.seed(0)
        net = Net()

        def step(batch, net=net):
            for p in net.parameters():
                p.zero_grad()
            loss = (net(vg.TensorNode(batch, requires_grad=False)) ** 2).sum()
            loss.backward()
            for p in net.parameters():
                p.value -= 0.01 * p.grad
            return loss

        run = vg.compile(step, state=net) if compiled else step
        losses_ = [run(x).value for _ in range(3)]
        values.append([*losses_, *(p.value for p in net.parameters())])
    for a, b in zip(*values, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6)


# --- state


def training(model, optimizer, zero=True, schedule=None):
    def step(x, y):
        if zero:
            optimizer.zero_grad()
        loss = losses.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        if schedule:
            schedule.step()
        return loss

    return step


def made():
    vg.seed(0)
    model = nn.Linear(3, 2)
    return model, optim.SGD(model.parameters(), lr=0.1, momentum=0.5)


def test_a_parameter_that_is_not_listed_is_named():
    model, _ = made()
    with pytest.raises(
        CannotCompileError, match=r"parameter 'weight', which is not in its state: .*state=\[model, opt"
    ):
        vg.compile(lambda x: model(x).value)(X)
    scale = vg.TensorNode(np.float32(2), name="scale")
    with pytest.raises(CannotCompileError, match="parameter 'scale'"):
        vg.compile(lambda x: model(x).value * scale, state=model)(X)
    scale.requires_grad = False
    vg.compile(lambda x: model(x).value * scale, state=model)(X)


def test_gradients_that_add_up_over_calls_are_refused():
    model, optimizer = made()
    with pytest.raises(
        CannotCompileError, match=r"gradient of weight is added to that of the call before.*zero_grad\(\)"
    ):
        vg.compile(training(model, optimizer, zero=False), state=[model, optimizer])(X, Y)


def test_a_schedule_within_is_refused_and_the_rate_is_as_before():
    model, optimizer = made()
    step = training(model, optimizer, schedule=optim.StepLR(optimizer, 1))
    with pytest.raises(CannotCompileError, match=r"sets sgd\.lr to the number .*: step the schedule outside"):
        vg.compile(step, state=[model, optimizer])(X, Y)
    assert optimizer.lr == 0.1


def test_tracing_leaves_state_and_gradients_as_they_were():
    model, optimizer = made()
    losses.cross_entropy(model(X), Y).backward()
    arrays = [p.value for p in model.parameters()] + [p.grad for p in model.parameters()]
    copies = [a.copy() for a in arrays]
    vg.compile(training(model, optimizer), state=[model, optimizer]).plan(X, Y)
    now = [p.value for p in model.parameters()] + [p.grad for p in model.parameters()]
    for array, copy, found in zip(arrays, copies, now, strict=True):
        assert found is array
        np.testing.assert_array_equal(found, copy)


def test_state_that_is_none():
    with pytest.raises(TypeError, match=r"state\[1\] is a ndarray: list modules, optimizers and TensorNodes"):
        vg.compile(lambda x: x, state=[nn.Linear(2, 2), X])


def test_a_state_of_another_shape_or_dtype_gets_another_plan():
    model, _ = made()
    fast = vg.compile(model)
    fast(X)
    plan = fast.plan(X)
    model.weight.value = np.ones((2, 3))
    assert fast(X).value.dtype == model(X).value.dtype
    model.weight.value = np.ones((4, 3), np.float32)
    model.bias.value = np.zeros(4, np.float32)
    np.testing.assert_array_equal(fast(X).value, np.full((5, 4), 3))
    with pytest.raises(
        ValueError, match=r"weight was float32 of shape \(2, 3\) when this plan was made, and is .* \(4, 3\)"
    ):
        plan.run(X)


def test_a_step_may_not_leave_another_shape_in_the_state():
    p = vg.TensorNode(np.zeros(3), name="p")

    def grows(x):
        p.value = np.concatenate([p.value, x])
        return x

    with pytest.raises(
        CannotCompileError, match=r"leaves float64 of shape \(5,\) in p, which was float64 of shape \(3,\)"
    ):
        vg.compile(grows, state=p)(np.ones(2))
    assert p.value.shape == (3,)


def test_the_arrays_of_the_state_are_contiguous_and_writable():
    p = vg.TensorNode(np.ones((3, 4))[:, ::2], name="p")

    def step(x):
        p.value = p.value * x
        return p.value.sum()

    fast = vg.compile(step, state=p)
    with pytest.raises(ValueError, match=r"the array of p is not contiguous, .* node\.value = node\.value\.copy\(\)"):
        fast(np.array(2.0))
    p.value = np.ones((3, 2))
    p.value.flags.writeable = False
    with pytest.raises(ValueError, match="the array of p is read-only"):
        fast(np.array(2.0))
    p.value = p.value.copy()
    assert fast(np.array(2.0)) == 12
    assert p.value.sum() == 12


# --- arguments


def test_arguments_need_not_be_contiguous_nor_arrays():
    fast = vg.compile(lambda x: (x * np.arange(3)).sum(axis=1))
    x = np.random.default_rng(0).normal(size=(6, 3))
    for form in (
        np.asfortranarray(x),
        x[::-1],
        x[:, ::-1],
        np.repeat(x, 2, axis=0)[::2],
        np.broadcast_to(x[0], (6, 3)),
    ):
        np.testing.assert_allclose(fast(form), (form * np.arange(3)).sum(axis=1), rtol=1e-14)
    np.testing.assert_array_equal(fast([[1.0, 2.0, 3.0]]), [8])
    scaled = vg.compile(lambda x, k, flag: x * k if flag else x)
    assert scaled(X, 3, True)[0, 0] == 3
    assert scaled(X, 2, True)[0, 0] == 2
    assert scaled(X, 2, False)[0, 0] == 1


def test_a_plan_takes_only_arguments_that_it_was_made_for():
    plan = vg.compile(lambda x: x.sum()).plan(X)
    assert plan.run(X) == 15
    for wrong in (X.astype(np.float64), X[:3], X[:, :2], X[None]):
        with pytest.raises(ValueError, match=r"made for argument 0 of float32 and shape \(5, 3\), not"):
            plan.run(wrong)


def test_arguments_of_no_dtype_of_ours():
    for array in (np.array([object()]), X.astype(">f4"), X.astype(np.complex64), np.array(["a"])):
        with pytest.raises(CannotCompileError, match=r"argument 0 is .*, which cannot be compiled: use float32"):
            vg.compile(lambda x: x)(array)


def test_batches_without_instances():
    fast = vg.compile(lambda x: (x * 2, x.sum(axis=0), x.sum()))
    y, columns, total = fast(np.zeros((0, 3), np.float32))
    assert (y.shape, y.dtype, columns.tolist(), total) == ((0, 3), np.float32, [0, 0, 0], 0)
    with pytest.raises(ValueError, match="the batch is empty"):
        vg.compile(lambda x, y: losses.cross_entropy(x, y))(np.zeros((0, 3)), np.zeros(0, int))


@pytest.mark.parametrize("order", [[0, 5], [-1, 0], [0.0, 1.0], [[0, 1]]])
def test_an_order_of_positions_that_are_not_there(order):
    fast = vg.compile(lambda x: x.sum())
    with pytest.raises(ValueError, match=r"order holds positions of 5 rows, whole numbers from 0 to 4"):
        fast.run_epoch(X, batch_size=2, order=order)


def test_epochs_that_do_not_fit():
    fast = vg.compile(lambda x, y: x.sum() + y.sum())
    with pytest.raises(ValueError, match="batch_size is 0"):
        fast.run_epoch(X, Y, batch_size=0)
    with pytest.raises(ValueError, match="the arrays have 5, 4 rows"):
        fast.run_epoch(X, Y[:4], batch_size=2)
    with pytest.raises(ValueError, match="2 rates for 3 steps"):
        fast.run_epoch(X, Y, batch_size=2, rates=[0.1, 0.2])


# --- threads


@pytest.mark.parametrize("text", ["two", "0", "-1", "1.5"])
def test_a_number_of_threads_that_is_none(monkeypatch, text):
    monkeypatch.setenv("VUGRAD_THREADS", text)
    with pytest.raises(ValueError, match=f"VUGRAD_THREADS='{text}': it is a number of threads, from 1 on"):
        vg.get_threads()


def test_threads_are_set_from_outside_and_from_within(monkeypatch):
    monkeypatch.setenv("VUGRAD_THREADS", "1")
    assert vg.get_threads() == 1
    monkeypatch.setenv("VUGRAD_THREADS", "10000")
    assert vg.get_threads() == len(os.sched_getaffinity(0))
    monkeypatch.delenv("VUGRAD_THREADS")
    for text, expected in (("1", 1), ("4,2", None), ("0", None), ("10000", None)):
        monkeypatch.setenv("OMP_NUM_THREADS", text)
        assert vg.get_threads() == (expected or len(os.sched_getaffinity(0)))
    vg.set_threads(1)
    assert vg.get_threads() == 1
    with pytest.raises(ValueError, match="set_threads: n is a whole number from 1 on, got 0"):
        vg.set_threads(0)
    vg.set_threads(None)


def trained():
    """The weights after three epochs, from one seed."""
    rng = np.random.default_rng(0)
    model = nn.MLP([30, 40, 5], batch_norm=True, dropout=0.2, rng=rng)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    fast = vg.compile(training(model, optimizer), state=[model, optimizer])
    x, y = rng.normal(size=(96, 30)).astype(np.float32), rng.integers(5, size=96)
    for _ in range(3):
        fast.run_epoch(x, y, batch_size=48, order=rng.permutation(96))
    return np.concatenate([p.value.ravel() for p in model.parameters()])


def test_one_number_of_threads_gives_the_same_bits_each_time():
    expected = trained()
    for _ in range(3):
        np.testing.assert_array_equal(trained(), expected)
    vg.set_threads(1)
    try:
        alone = trained()
        np.testing.assert_array_equal(trained(), alone)
    finally:
        vg.set_threads(None)
    np.testing.assert_allclose(alone, expected, rtol=1e-2, atol=1e-4)


def test_plans_made_and_run_by_several_threads_of_python_at_once():
    expected, found = trained(), []
    workers = [threading.Thread(target=lambda: found.append(trained())) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 3
    for weights in found:
        np.testing.assert_array_equal(weights, expected)


def test_one_plan_called_by_many_threads_at_once():
    fast = vg.compile(lambda x: np.tanh(x @ x.T).sum())
    arrays = [np.random.default_rng(i).normal(size=(40, 30)) for i in range(4)]
    wrong = []

    def work(x):
        wrong.extend(x for _ in range(25) if not np.isclose(fast(x), np.tanh(x @ x.T).sum(), rtol=1e-9))

    workers = [threading.Thread(target=work, args=(x,)) for x in arrays]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def _forked(x, queue):
    queue.put(float(vg.compile(lambda x: (x @ x.T).sum())(x)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_plans_work_in_a_forked_process():
    x = np.ones((64, 40))
    assert vg.compile(lambda x: (x @ x.T).sum())(x) == 64 * 64 * 40
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=_forked, args=(x, queue))
    process.start()
    assert queue.get(timeout=60) == 64 * 64 * 40
    process.join()


# --- memory


def test_a_plan_too_large_for_the_machine_names_its_size(monkeypatch):
    real = os.sysconf
    monkeypatch.setattr(os, "sysconf", lambda name: 1 if name == "SC_PHYS_PAGES" else real(name))
    with pytest.raises(
        MemoryError, match=r"this plan needs \d.* GiB for its intermediate results, .* use smaller batches"
    ):
        vg.compile(lambda x: (x @ x.T) @ x)(np.ones((200, 200)))


# --- the cache


def code_files(tmp_path):
    return sorted(path for path in (tmp_path / "code").iterdir() if path.is_file())


@pytest.mark.parametrize("harm", [lambda b: b[:-7], lambda b: b"", lambda b: b[:40] + bytes([b[40] ^ 1]) + b[41:]])
def test_code_that_is_not_whole_is_compiled_again(tmp_path, harm):
    f = lambda x: np.exp(x) + 3  # noqa: E731
    expected = vg.compile(f)(X)
    files = code_files(tmp_path)
    assert files
    for file in files:
        file.write_bytes(harm(file.read_bytes()))
    np.testing.assert_array_equal(vg.compile(f)(X), expected)
    assert [cache.get(file.name) is not None for file in files].count(True) >= 1, "it was stored again"


def test_equal_programs_are_made_once_in_a_process(monkeypatch):
    def step_of(seed):
        model = vg.nn.Linear(4, 3, rng=np.random.default_rng(seed))
        optimizer = vg.optim.SGD(model.parameters(), lr=0.1)

        def step(x):
            optimizer.zero_grad()
            loss = (model(x) ** 2).sum()
            loss.backward()
            optimizer.step()
            return loss

        return step, [model, optimizer]

    monkeypatch.setattr("vugrad.compiler.plan._codes", Recent(8))
    x = np.linspace(-1, 1, 20, dtype=np.float32).reshape(5, 4)
    first = vg.compile(*step_of(0))
    first(x)

    def never(*_):
        raise AssertionError("made again")

    monkeypatch.setattr("vugrad.compiler.plan.lower", never)
    monkeypatch.setattr("vugrad.compiler.plan.llvm.Code", never)
    second, by_op = vg.compile(*step_of(1)), step_of(1)[0]
    for _ in range(3):
        np.testing.assert_allclose(second(x).value, by_op(x).value, rtol=1e-5)
    assert first(x).value != second(x).value, "each has weights of its own"
    with pytest.raises(AssertionError, match="made again"):
        second(x[:3])


@pytest.mark.parametrize("target", [*LESSER, HOST])
def test_code_for_one_thread_is_not_taken_for_two(target, tmp_path, monkeypatch):
    # A step too small to be shared runs on one thread in both cases, but its loops and its memory are not the same: one
    # thread has all instances in one block, and two have a block each.
    monkeypatch.setenv("VUGRAD_TARGET", target)
    n = 2 * llvm.host().vector_bytes // 4
    x, y = np.linspace(-1, 1, n * 64, dtype=np.float32).reshape(n, 64), np.arange(n) % 10
    plans = []
    for allowed in (1, 2):
        monkeypatch.setattr(threads, "get_threads", lambda n=allowed: n)
        model = nn.MLP([64, 8, 10], rng=np.random.default_rng(0))
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        plans.append(vg.compile(training(model, optimizer), state=[model, optimizer]).plan(x, y))
    one, two = plans
    assert one.threads == two.threads == 1
    assert (one.lowered.loops.lanes, two.lowered.loops.lanes) == (n, n // 2)
    assert len(code_files(tmp_path)) == 2
    np.testing.assert_allclose(one.run(x, y).value, two.run(x, y).value, rtol=1e-6)


def test_what_is_recent():
    made = []
    recent = Recent(2)
    for key in "abacbaa":
        recent.get(key, lambda key=key: made.append(key) or key)
    assert "".join(made) == "abcba"


def test_code_is_found_again(monkeypatch):
    f = lambda x: np.exp(x) + 5  # noqa: E731
    expected = vg.compile(f)(X)

    def never(*_):
        raise AssertionError("compiled again")

    monkeypatch.setattr("vugrad.compiler.machine.llvm.compile_text", never)
    np.testing.assert_array_equal(vg.compile(f)(X), expected)
    with pytest.raises(AssertionError, match="compiled again"):
        vg.compile(lambda x: np.exp(x) + 6)(X)


def test_a_folder_that_cannot_be_written_to_is_no_error(monkeypatch, tmp_path):
    blocked = tmp_path / "a file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("VUGRAD_CACHE", str(blocked / "code"))
    assert vg.compile(lambda x: x.sum() + 1)(X) == 16
    monkeypatch.setenv("VUGRAD_CACHE", "")
    assert vg.compile(lambda x: x.sum() + 2)(X) == 17


def test_what_was_not_used_for_longest_goes_first(monkeypatch, tmp_path):
    monkeypatch.setattr(cache, "LIMIT", 3000)
    monkeypatch.setattr(cache, "_written", itertools.count(1))
    for i, name in enumerate("abcd"):
        cache.put(name, bytes(1000))
        os.utime(tmp_path / "code" / name, (i, i))
    monkeypatch.setattr(cache, "_written", itertools.count(1))
    cache.put("e", bytes(1000))
    assert len(code_files(tmp_path)) == 5, "it looks at all files at every one"
    monkeypatch.setattr(cache, "_written", itertools.count(cache.SELDOM))
    cache.put("e", bytes(1000))
    assert [path.name for path in code_files(tmp_path)] == ["d", "e"]
    assert cache.get("a") is None
    assert cache.get("e") == bytes(1000)


def test_processes_that_write_the_same_code_at_once(tmp_path):
    script = "import numpy as np, vugrad as vg; print(float(vg.compile(lambda x: np.tanh(x).sum())(np.ones(64))))"
    environment = {**os.environ, "VUGRAD_CACHE": str(tmp_path / "code")}
    processes = [
        subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    results = {process.communicate(timeout=120)[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(results) == 1
    assert all(cache.get(file.name) is not None for file in code_files(tmp_path))


# --- epochs that are watched, and that end early


def slow_training():
    vg.seed(0)
    model = nn.MLP([64, 64, 64, 10])
    optimizer = optim.SGD(model.parameters(), lr=0.01)
    x = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    y = np.random.default_rng(1).integers(10, size=64)
    steps = []
    fast = vg.compile(training(model, optimizer), state=[model, optimizer])
    return model, fast, x, y, steps


def test_progress_has_had_all_results_when_the_epoch_ends():
    _, fast, x, y, seen = slow_training()
    order = np.arange(64 * 400) % 64
    found = fast.run_epoch(x, y, batch_size=64, order=order, progress=lambda part: seen.append(part.value))
    np.testing.assert_array_equal(np.concatenate(seen), found.value)
    assert len(found.value) == 400


def test_an_error_in_progress_ends_the_epoch_after_a_step_and_the_state_is_consistent(monkeypatch):
    monkeypatch.setattr(plan_module, "LOOK", 0.002)
    model, fast, x, y, _ = slow_training()
    done = []

    def progress(part):
        done.extend(part.value.tolist())
        if not raised:
            raised.append(True)
            raise RuntimeError("enough")

    steps, raised = 50_000, []
    with pytest.raises(RuntimeError, match="enough"):
        fast.run_epoch(x, y, batch_size=64, order=np.arange(64 * steps) % 64, progress=progress)
    assert 0 < len(done) < steps
    weights = [p.value.copy() for p in model.parameters()]
    again, fast, *_ = slow_training()
    count = len(done)
    found = fast.run_epoch(x, y, batch_size=64, order=np.arange(64 * count) % 64)
    np.testing.assert_array_equal(found.value, done)
    for a, b in zip(weights, again.parameters(), strict=True):
        np.testing.assert_array_equal(a, b.value)


def counting():
    """A function whose state counts its calls, and its argument."""
    p = vg.TensorNode(np.zeros(3), name="p")

    def step(x):
        p.value = p.value + x[0, :3]
        return (np.tanh(x) @ x.T).sum()

    return p, vg.compile(step, state=p), np.ones((256, 64))


def test_control_c_ends_an_epoch_after_a_step():
    p, fast, x = counting()
    expected, seen = fast(x), []

    def progress(part):
        seen.extend(part)
        if len(seen) == len(part) > 0:  # for the first time
            signal.raise_signal(signal.SIGINT)

    n = 20_000
    with pytest.raises(KeyboardInterrupt):
        fast.run_epoch(x, batch_size=256, order=np.arange(256 * n) % 256, progress=progress)
    assert 0 < len(seen) < n
    assert p.value.tolist() == [len(seen) + 1] * 3
    assert fast(x) == expected
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


class AlarmError(Exception):
    """What the handler of a signal raises."""


def interrupted(call):
    """The errors of a call in which the handler of a signal raises one, at each point in turn at which Python runs it.

    It runs handlers where a function begins, and after each one that is called.
    """
    for point in itertools.count():
        left = point

        def ring(_, event, __):
            nonlocal left
            left -= event in ("call", "return", "c_return")
            if left < 0:
                sys.setprofile(None)
                raise AlarmError

        handler, outer = signal.getsignal(signal.SIGINT), sys.getprofile()
        gc.disable()  # or the callbacks of others at a collection would be interrupted
        sys.setprofile(ring)
        try:
            try:
                call()
            finally:
                gc.enable()
        except AlarmError as error:
            yield error
        else:
            if left >= 0:  # it has come to its end; but where Python asks an object for its hash, say, errors get lost
                return
        finally:
            sys.setprofile(outer)
            signal.signal(signal.SIGINT, handler)


@pytest.fixture
def teams(monkeypatch):
    """The teams hired in a test, which has none from before."""
    before, mine = team._teams, []
    monkeypatch.setattr(team, "_teams", mine)
    yield mine
    before.extend(mine)  # whose workers look into the memory of their team from now on too


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("epoch", [False, True], ids=["calls", "epochs"])
def test_whatever_is_raised_in_a_call_the_threads_are_done_first(n, epoch, monkeypatch, teams):
    monkeypatch.setattr(threads, "get_threads", lambda: n)
    p, fast, x = counting()
    expected = fast(x)
    assert fast.plan(x).threads == n

    order = np.arange(3 * 256) % 256
    calls = lambda: fast(x)  # noqa: E731
    epochs = lambda: fast.run_epoch(x, batch_size=256, order=order, progress=lambda part: None)  # noqa: E731

    errors = []  # which keep all frames that they have gone through
    call = epochs if epoch else calls
    call()  # nothing is left to compile: llvmlite's objects that an interrupt leaves half-made warn when they are freed
    for error in interrupted(call):
        errors.append(error)
        assert all(one.wait(0) for one in teams if one.ready)
        done = p.value[0]
        assert p.value.tolist() == [done] * 3
        assert fast(x) == expected
        assert p.value.tolist() == [done + 1] * 3
    assert len(errors) > 50
    # An error keeps a team from others only if it was raised where that was hired.
    assert sum(one.ready for one in teams) <= 3


def test_a_team_is_started_whole_or_not_at_all(monkeypatch, teams):
    for error in interrupted(lambda: team.hire(3)):
        assert type(error) is AlarmError
    assert [one.n for one in teams if one.ready] == [3] * sum(one.ready for one in teams)
    before, real = len(teams), team._function
    monkeypatch.setattr(team, "_function", lambda name, n: (lambda *_: 11) if name == "start" else real(name, n))
    with pytest.raises(RuntimeError, match="4 threads cannot be started: Resource temporarily unavailable"):
        team.hire(4)
    assert not any(one.ready for one in teams[before:])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_process_forked_while_a_plan_runs_need_not_wait_for_it():
    script = textwrap.dedent(
        """
        import os, signal, threading
        import numpy as np, vugrad as vg
        f = vg.compile(lambda x: np.tanh(x @ x.T).sum())
        x = np.ones((300_000, 16), np.float32)
        expected, over, running = f(x[:64]), [], threading.Event()
        def run():
            while not over:
                f.run_epoch(x, batch_size=64, progress=lambda part: running.set())
        thread = threading.Thread(target=run)
        thread.start()
        running.wait()
        child = os.fork()
        if child == 0:
            signal.alarm(100)
            os._exit(0 if f(x[:64]) == expected else 3)
        print(os.waitpid(child, 0)[1])
        over.append(1)
        thread.join()
        """
    )
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=120)
    assert result.stdout.split() == ["0"], result.stderr


class Holder(nn.Module):
    """A module with a parameter, whatever else it is given, and a function of both as its forward."""

    def __init__(self, f, **held):
        super().__init__()
        self.w, self.f = vg.TensorNode(np.ones(3, np.float32)), f
        vars(self).update(held)

    def forward(self, x):
        return self.f(self, x)


def node(*numbers):
    return vg.TensorNode(np.array(numbers, np.float32), requires_grad=False)


CHANGES = {
    "an array of its own": (lambda m, x: x * m._a, {"_a": np.ones(3, np.float32)}, lambda m: m._a.__imul__(2)),
    "another array": (lambda m, x: x * m._a, {"_a": np.ones(3, np.float32)}, lambda m: vars(m).update(_a=m._a * 3)),
    "a node's value": (lambda m, x: x * m._a, {"_a": node(1, 1, 1)}, lambda m: setattr(m._a, "value", m._a.value * 5)),
    "a node in a tuple": (lambda m, x: x * m.a[0], {"a": (node(1, 1, 1),)}, lambda m: m.a[0].value.__imul__(5)),
    "the keys of a dict": (
        lambda m, x: x * m.a["p"] + m.a["q"],
        {"a": {"p": 2, "q": 3}},
        lambda m: (m.a.clear(), m.a.update(q=2, p=3)),
    ),
    "lists": (lambda m, x: x * sum(m.a) + len(m.b), {"a": [1, 2], "b": [3]}, lambda m: m.b.insert(0, m.a.pop())),
    "the sign of 0": (lambda m, x: x * m.a, {"a": 0.0}, lambda m: setattr(m, "a", -0.0)),
    "a number's type": (lambda m, x: x * m.a, {"a": np.float32(0.5)}, lambda m: setattr(m, "a", np.float64(0.5))),
    "a whole number": (lambda m, x: np.floor(x).astype(np.int64) * m.a, {"a": 2}, lambda m: setattr(m, "a", 2.0)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changes_in_a_module_is_seen(name):
    f, held, change = CHANGES[name]
    model, x = Holder(f, **held), np.arange(6, dtype=np.float32).reshape(2, 3)
    fast = vg.compile(model)
    for _ in range(2):
        expected, found = (np.asarray(getattr(y, "value", y)) for y in (model(x), fast(x)))
        assert expected.dtype == found.dtype
        assert expected.tobytes() == found.tobytes()
        change(model)


def test_state_that_shares_memory_is_refused():
    one, other = vg.nn.Linear(3, 3), vg.nn.Linear(3, 3)
    other.weight.value = one.weight.value
    model = vg.nn.Sequential(one, other)
    f = vg.compile(model)
    with pytest.raises(vg.compiler.CannotCompileError, match=r"0\.weight and 1\.weight share memory"):
        f(np.ones((4, 3), np.float32))
    other.weight = one.weight  # one node in both places is one parameter
    x = np.ones((4, 3), np.float32)
    assert np.allclose(vg.compile(model)(x).value, model(x).value)


def test_a_module_that_is_not_listed_is_left_as_it_was():
    model = vg.nn.Sequential(vg.nn.Linear(3, 4), vg.nn.BatchNorm1d(4), vg.nn.Dropout(0.5))
    optimizer = vg.optim.SGD(model.parameters(), lr=0.1)
    before = model.state_dict()

    def step(x):
        optimizer.zero_grad()
        loss = model(x).sum()
        loss.backward()
        optimizer.step()
        return loss

    with pytest.raises(
        vg.compiler.CannotCompileError, match="running_mean of a module or an optimizer that is not in its"
    ):
        vg.compile(step, state=[optimizer])(np.ones((5, 3), np.float32))
    with pytest.raises(vg.compiler.CannotCompileError, match="list that in vg"):
        vg.compile(step)(np.ones((5, 3), np.float32))
    assert all(np.array_equal(before[name], array) for name, array in model.state_dict().items())
    assert float(vg.compile(step, state=[model, optimizer])(np.ones((5, 3), np.float32))) == pytest.approx(0, abs=20)


def test_what_a_stand_in_has_not():
    def flags(x):
        return x if hasattr(x, "flags") else 2 * x

    x = np.arange(3.0)
    assert np.array_equal(vg.compile(flags)(x), 2 * x)
    for f, name in ((lambda x: x.tobytes(), "tobytes"), (lambda x: x % 2, "remainder"), (lambda x: 7 // x, "floor")):
        with pytest.raises(vg.compiler.CannotCompileError, match=name):
            vg.compile(f)(x)


def test_an_optimizer_that_is_not_listed_is_named_and_left_as_it_was():
    for make in (optim.SGD, optim.Adam):
        model = nn.Linear(3, 2)
        optimizer = make(model.parameters(), lr=0.1)

        class Trainer:
            def __init__(self):
                self.net, self.opt = model, optimizer  # noqa: B023 (called in this turn)

            def step(self, x):
                self.opt.zero_grad()
                loss = self.net(x).sum()
                loss.backward()
                self.opt.step()
                return loss

        with pytest.raises(CannotCompileError, match=r"list (it, as in|that in) vg\.compile"):
            vg.compile(Trainer().step, state=model)(X)
        assert [entry["step"] for entry in optimizer.state] == [0, 0]
        assert all(type(x) in (int, np.ndarray) for entry in optimizer.state for x in entry.values())


def test_a_penalty_on_a_module_that_is_not_listed_is_refused():
    model, other = nn.Linear(3, 2), nn.Linear(3, 2)

    def step(x):
        loss = model(x).sum() + (other.weight**2).sum()
        loss.backward()
        model.zero_grad()
        return loss

    with pytest.raises(CannotCompileError, match="the gradient of weight of a module or an optimizer"):
        vg.compile(step, state=model)(X)
    assert isinstance(other.weight.grad, np.ndarray)


def test_what_outlives_the_call_is_refused():
    model = nn.Linear(3, 2)
    velocity = {p: np.zeros_like(p.value) for p in model.parameters()}
    seen = []

    def step(x):
        model(x).sum().backward()
        for p in model.parameters():
            velocity[p] = 0.9 * velocity[p] - p.grad
            p.value += velocity[p]
        model.zero_grad()

    def remembers(x):
        seen.append(2 * x)
        return x

    for function in (step, remembers):
        with pytest.raises(CannotCompileError, match=r"keeps an array of its own \(f32\[.*\]\) after its end"):
            vg.compile(function, state=model)(X)


def test_a_module_that_counts_in_python_is_refused():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            return x * self.calls

    with pytest.raises(CannotCompileError, match="draws random numbers, counts, or"):
        vg.compile(Counts())(X)


def test_a_node_that_the_function_makes_of_constants_is_no_parameter():
    model = nn.Linear(3, 3)

    def recurrent(x):
        h = vg.TensorNode(np.ones((len(x), 3), np.float32))
        for _ in range(3):
            h = np.tanh(model(x) + h)
        return h

    np.testing.assert_allclose(vg.compile(recurrent, state=model)(X).value, recurrent(X).value, rtol=1e-5)


def test_arguments_that_hold_arrays_are_refused():
    for argument in ((X,), {"x": X}):
        with pytest.raises(TypeError, match=r"not a (tuple|dict): pass the arrays in it one by one"):
            vg.compile(lambda parts: parts)(argument)


def test_numbers_of_numpy_keep_their_dtype():
    for f in (lambda x: np.float64(2) * x, lambda x: x ** np.float64(2), lambda x: np.float32(2) * x):
        assert vg.compile(f)(X).dtype == f(X).dtype


@pytest.mark.parametrize("grow", [lambda x: x + x, lambda x: 0.5 * np.sin(x) + x], ids=["x + x", "sin"])
def test_what_is_used_twice_again_and_again_is_compiled_once(grow):
    def chain(turns):
        def f(x):
            for _ in range(turns):
                x = grow(x)
            return x, x.sum(axis=0), np.argmax(x, axis=1)

        return f

    few, more = (len(vg.compile(chain(turns)).plan(X).text()) for turns in (6, 12))
    assert more < 2.5 * few, "it doubles with every turn"
    for found, expected in zip(vg.compile(chain(40))(X), chain(40)(X), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_plan_called_from_its_own_progress_raises_and_does_not_wait_for_ever():
    fast = vg.compile(lambda x: x.sum())
    with pytest.raises(RuntimeError, match="from its own progress function"):
        fast.run_epoch(X, batch_size=1, progress=lambda _: fast(X[:1]))
    assert fast(X[:1]) == X[:1].sum()


def test_a_compiled_function_in_another_is_a_part_of_it():
    model = vg.nn.Linear(3, 2)
    inner = vg.compile(model)
    outer = vg.compile(lambda x: 2 * inner(x), state=[model])
    x = np.ones((4, 3), np.float32)
    np.testing.assert_allclose(outer(x).value, 2 * model(x).value, rtol=1e-6)
    model.weight.value *= 3
    np.testing.assert_allclose(outer(x).value, 2 * model(x).value, rtol=1e-6)
    sums = vg.compile(lambda x: np.exp(x).sum(axis=1))
    np.testing.assert_allclose(vg.compile(lambda x: sums(x) * 2)(x), 2 * np.exp(x).sum(axis=1), rtol=1e-6)
    with pytest.raises(CannotCompileError, match="weight"):
        vg.compile(lambda x: (inner(x) * 2).sum().backward())(x)
