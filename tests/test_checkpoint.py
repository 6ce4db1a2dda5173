"""Checkpoints come back whole or not at all."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import vugrad as vg
from vugrad.files import check_writable, write_whole
from vugrad.train import History, load_checkpoint, save_checkpoint


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


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_corrupt_file_is_an_error_of_ours(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("corrupt") / "run.safetensors"
    net = parts()[0]
    before = net.state_dict()
    save_checkpoint(path, net)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans(), "truncate"):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        # In the header, where every byte matters; in the arrays another number is another number.
        position = data.draw(st.integers(0, 8 + int.from_bytes(content[:8], "little") - 1))
        content[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        load_checkpoint(path, net)
    except ValueError:
        assert all((net.state_dict()[name] == before[name]).all() for name in before)


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
