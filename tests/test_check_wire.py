"""What passes between a judge and a submission: plain values come back as they were, and nothing else comes."""

import io
import struct

import numpy as np
import pytest

import vugrad as vg
from vugrad.check.recording import Named, received, record, sent
from vugrad.check.wire import BadMessage, receive, send


def through(value):
    file = io.BytesIO()
    send(file, value)
    file.seek(0)
    return receive(file)


VALUES = [
    *(None, True, 3, -0.0, float("inf"), 2 - 3j, "é\x1b\0", [1, [2]], (1, (2, "a")), {"a": 1, 2: (3,)}, {(1, 2): []}),
    *(slice(1, None, -1), Ellipsis, np.dtype("f4"), (slice(None), None, ..., [0, 1])),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_plain_values_come_back(value):
    found = through(value)
    assert type(found) is type(value)
    assert repr(found) == repr(value)


@pytest.mark.parametrize("dtype", ["f8", "f4", "c16", "i8", "u1", "?", ">f8"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 4)])
def test_arrays_come_back_as_copies(dtype, shape):
    x = np.asarray(np.arange(np.prod(shape)).reshape(shape).astype(dtype))
    found, again = through([x, x.T])
    np.testing.assert_array_equal(found, x)
    np.testing.assert_array_equal(again, x.T)
    assert (found.dtype, found.flags.writeable) == (x.dtype, True)


@pytest.mark.parametrize("value", [print, int, np.array(["a"]), np.array([None]), {1, 2}, b"bytes"], ids=repr)
def test_nothing_else_is_sent(value):
    with pytest.raises(TypeError, match="cannot be sent"):
        through(value)


def message(text, data=b""):
    return struct.pack("<QQ", len(text) + len(data), len(text)) + text + data


@pytest.mark.parametrize(
    "sent_bytes",
    [
        struct.pack("<QQ", 1 << 40, 4),
        struct.pack("<QQ", 4, 8) + b"12345678",
        *map(message, [b"{", b'{"no such": 1}', b'{"tuple": 3}', b'{"a": 1, "b": 2}', b'{"dict": [1]}', b"[" * 10**5]),
        message(b'{"array": ["<f8", [3], 0]}', b"12345678"),
        message(b'{"array": ["<f8", [-1], 0]}'),
        message(b'{"array": ["O", [1], 0]}', b"12345678"),
        message(b'{"array": ["<f8", [1], -8]}', b"12345678"),
        message(b"\xff"),
    ],
    ids=lambda sent_bytes: repr(sent_bytes[:40]),
)
def test_bytes_that_are_no_message(sent_bytes):
    with pytest.raises(BadMessage):
        receive(io.BytesIO(sent_bytes))


def test_the_end_is_told_from_a_message():
    for part in (b"", b"123", message(b"[1, 2]")[:-1]):
        with pytest.raises(EOFError):
            receive(io.BytesIO(part))


def test_a_recording_comes_back():
    recording = record(vg.Normalize, [np.ones((2, 3))], {})
    found = received(through(sent(recording)))
    assert str(found.program) == str(recording.program)
    assert (found.outputs, found.gradients) == (recording.outputs, recording.gradients)
    assert all(isinstance(part, Named) for part in found.outputs)


INPUT = ["input", [], {"name": "argument 0", "kind": "argument", "shape": (2,), "dtype": np.dtype("f8")}]
GOOD = {"instructions": [INPUT, ["exp", [0], {}]], "program outputs": [["y", 1]], "outputs": [], "gradients": []}


@pytest.mark.parametrize(
    "change",
    [
        {"instructions": [INPUT, ["exp", [1], {}]]},
        {"instructions": [INPUT, ["exp", [-1], {}]]},
        {"instructions": [INPUT, ["system", [0], {}]]},
        {"instructions": [INPUT, ["reshape", [0], {"shape": (3,)}]]},
        {"instructions": [INPUT, ["reshape", [0], {}]]},
        {"instructions": [INPUT, ["broadcast", [0], {"shape": (10**6, 2)}]]},
        {"instructions": [INPUT] * 10_000},
        {"program outputs": [["y", 7]]},
        {"outputs": [["output", "z"]]},
        {"instructions": 3},
    ],
    ids=str,
)
def test_a_program_that_is_none_is_not_proven(change):
    received(GOOD)
    with pytest.raises(NotImplementedError, match="the recorded program cannot be proven"):
        received(GOOD | change)
