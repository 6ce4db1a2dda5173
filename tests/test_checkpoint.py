"""Checkpoints come back whole or not at all."""

import json

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import vugrad as vg
from vugrad.files import check_writable, write_whole
from vugrad.interchange.tensors import read_tensors, write_tensors
from vugrad.train import Epoch, History, load_checkpoint, save_checkpoint
from vugrad.train.checkpoint import FORMAT, digest


def parts(seed=0, features=4):
    rng = np.random.default_rng(seed)
    net = vg.nn.Sequential(
        vg.nn.Linear(features, 3, rng=rng),
        vg.nn.BatchNorm1d(3),
        vg.nn.Dropout(0.5, rng=rng),
        vg.nn.Linear(3, 2, rng=rng),
    )
    optimizer = vg.optim.Adam(net.parameters(), lr=0.1)
    return net, optimizer, vg.optim.StepLR(optimizer, 2)


def go_on(net, optimizer, schedule, steps):
    x = np.linspace(-1, 1, 20, dtype=np.float32).reshape(5, 4)
    for _ in range(steps):
        vg.losses.cross_entropy(net(x), np.array([0, 1, 0, 1, 1])).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return net.state_dict()


def test_a_run_goes_on_in_the_same_bits(tmp_path):
    path = tmp_path / "run.safetensors"
    whole = go_on(*parts(), 6)
    first = parts()
    go_on(*first, 3)
    save_checkpoint(path, *first, History(stopped="x"))
    second = parts(seed=9)
    assert load_checkpoint(path, *second).stopped == "x"
    for name, array in go_on(*second, 3).items():
        assert array.tobytes() == whole[name].tobytes(), name


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "run.safetensors"
    write_whole(path, b"old")

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_another_architecture_changes_nothing(tmp_path):
    path = tmp_path / "run.safetensors"
    save_checkpoint(path, *parts())
    net, optimizer, schedule = parts(features=7)
    before = net.state_dict()
    with pytest.raises(ValueError, match=r"0\.weight: shape \(3, 4\) in the state, \(3, 7\) in the module"):
        load_checkpoint(path, net, optimizer, schedule)
    assert all((net.state_dict()[name] == before[name]).all() for name in before)


def test_another_optimizer_changes_nothing(tmp_path):
    path = tmp_path / "run.safetensors"
    net, optimizer, schedule = parts()
    go_on(net, optimizer, schedule, 1)
    save_checkpoint(path, net, optimizer)
    other = parts(seed=1)[0]
    before = other.state_dict()
    with pytest.raises(ValueError, match="none of it was loaded"):
        load_checkpoint(path, other, vg.optim.SGD(other.parameters(), lr=0.1))
    with pytest.raises(ValueError, match="without the state of the schedule"):
        load_checkpoint(path, *parts(seed=1))
    assert all((other.state_dict()[name] == before[name]).all() for name in before)


def state(net, optimizer, schedule, rng):
    """All bits of what a checkpoint is loaded into."""
    arrays = [*net.state_dict().items(), *optimizer.state_dict()["state"].items()]
    rest = [optimizer.lr, optimizer.initial_lr, [entry["step"] for entry in optimizer.state], schedule.last_step]
    return [(name, array.tobytes()) for name, array in arrays], rest, rng.bit_generator.state


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A checkpoint's path and content, what was saved, and what is there to load it into."""
    path = tmp_path_factory.mktemp("saved") / "run.safetensors"
    own, others = [(*parts(seed), np.random.default_rng(seed)) for seed in (0, 1)]
    go_on(*own[:3], 2)
    epoch = Epoch(1, 0.5, None, 0.4, 0.9, 0.1, 1.0, 10.0)
    save_checkpoint(path, *own[:3], History([epoch]), own[3])
    return path, path.read_bytes(), state(*own), others


@settings(max_examples=200)
@given(data=st.data())
def test_a_damaged_file_is_an_error_of_ours_and_nothing_is_loaded(data, saved):
    path, content, meant, others = saved
    damaged, before = bytearray(content), state(*others)
    if data.draw(st.booleans(), "truncate"):
        damaged = damaged[: data.draw(st.integers(0, len(content) - 1))]
    else:
        damaged[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(damaged)
    net, optimizer, schedule, rng = others
    with pytest.raises(ValueError, match="not a whole"):
        load_checkpoint(path, net, optimizer, schedule, rng)
    assert state(*others) == before != meant


@settings(max_examples=200)
@given(data=st.data())
def test_a_manifest_that_says_something_else(data, saved):
    """One that somebody wrote, with a hash that is right: an error of ours, and nothing is loaded, or a state."""
    path, content, _, others = saved
    path.write_bytes(content)
    tensors, metadata = read_tensors(path)
    manifest = json.loads(metadata["manifest"])
    places, within = [], [(manifest, key) for key in manifest]
    while within:
        owner, key = within.pop()
        places.append((owner, key))
        inner = owner[key]
        within += (
            [(inner, k) for k in (inner if isinstance(inner, dict) else range(len(inner)))]
            if (isinstance(inner, dict | list))
            else []
        )
    owner, key = data.draw(st.sampled_from(places))
    names = st.sampled_from([*tensors, "model", "x"])
    odd = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), names)
    odd = st.one_of(odd, st.lists(odd, max_size=2), st.dictionaries(st.sampled_from(["tensor", "0"]), odd, max_size=2))
    if data.draw(st.booleans(), "leave it out") and isinstance(owner, dict):
        del owner[key]
    else:
        owner[key] = data.draw(odd)
    text = json.dumps(manifest)
    write_tensors(path, tensors, {"format": FORMAT, "manifest": text, "sha256": digest(text, tensors)})
    net, optimizer, schedule, rng = others
    before = state(*others)
    try:
        history = load_checkpoint(path, net, optimizer, schedule, rng)
    except ValueError:
        assert state(*others) == before
    else:
        repr(history)
        with np.errstate(all="ignore"):  # such as of a negative mean of squares
            optimizer.step()
        rng.random()
        save_checkpoint(path, net, optimizer, schedule, history, rng)
        net(np.zeros((5, 4), np.float32))


def test_what_is_not_a_checkpoint(tmp_path):
    net = parts()[0]
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        load_checkpoint(tmp_path / "none", net)
    (tmp_path / "page").write_text("<html>not found</html>")
    with pytest.raises(ValueError, match="not a whole checkpoint"):
        load_checkpoint(tmp_path / "page", net)
    from safetensors.numpy import save_file

    save_file({"weight": np.zeros(3)}, tmp_path / "other")
    with pytest.raises(ValueError, match="its format is None"):
        load_checkpoint(tmp_path / "other", net)


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="cannot write to the folder"):
        check_writable(tmp_path / "file" / "run" / "it")
    with pytest.raises(OSError, match="it is a folder"):
        check_writable(tmp_path)
    check_writable(tmp_path / "a" / "b" / "it")
    assert list((tmp_path / "a" / "b").iterdir()) == []
