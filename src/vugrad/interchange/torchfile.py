"""PyTorch's files, as ``torch.save`` has written them since version 1.6, read without running what they say.

Such a file is a zip archive: the bytes of every storage, and a program that makes tensors of them, in the language of
Python's pickle. There a program may call any function of any package, which is how an evil file takes over a machine.
Here it can not: the interpreter below knows the few names that tensors are made with, and stops at any other.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vugrad.interchange.tensors import Array, widened

#: PyTorch's dtypes as their numbers are stored; of bool the bytes, of bfloat16 the upper halves of float32.
DTYPES = {
    **{f"torch.float{8 * n}": f"f{n}" for n in (2, 4, 8)},
    **{f"torch.int{8 * n}": f"i{n}" for n in (1, 2, 4, 8)},
    **{f"torch.uint{8 * n}": f"u{n}" for n in (1, 2, 4, 8)},
    "torch.complex64": "c8",
    "torch.complex128": "c16",
    "torch.bool": "u1",
    "torch.bfloat16": "u2",
}
#: The classes of storages and the dtype that each stands for.
STORAGES = {
    "torch.DoubleStorage": "torch.float64",
    "torch.FloatStorage": "torch.float32",
    "torch.HalfStorage": "torch.float16",
    "torch.BFloat16Storage": "torch.bfloat16",
    "torch.LongStorage": "torch.int64",
    "torch.IntStorage": "torch.int32",
    "torch.ShortStorage": "torch.int16",
    "torch.CharStorage": "torch.int8",
    "torch.ByteStorage": "torch.uint8",
    "torch.BoolStorage": "torch.bool",
    "torch.ComplexFloatStorage": "torch.complex64",
    "torch.ComplexDoubleStorage": "torch.complex128",
    "torch.storage.UntypedStorage": "torch.uint8",
}
#: The functions that make tensors of storages, and those that dress a tensor up.
VIEWS = {f"torch._utils._rebuild_tensor{version}" for version in ("", "_v2", "_v3")}
DRESSED = {"torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"}
TYPED = "torch._tensor._rebuild_from_type_v2"
DICT = "collections.OrderedDict"
#: Every name that a program may ask for.
NAMES = {*DTYPES, *STORAGES, *VIEWS, *DRESSED, TYPED, DICT, "torch.Tensor", "torch.nn.parameter.Parameter"}
#: The makers of what is no plain array, and what to do about it.
NO_ARRAYS = {
    "torch._utils._rebuild_sparse_tensor": "a sparse tensor: save tensor.to_dense()",
    "torch._utils._rebuild_qtensor": "a quantized tensor: save tensor.dequantize()",
    "torch._utils._rebuild_meta_tensor_no_storage": "a tensor on the device meta, which has no numbers to load",
}
ADVICE = "save the state alone, in PyTorch: torch.save(model.state_dict(), path)"
#: A file from before 1.6 begins with this number.
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
#: Bytes of a program. It takes some 150 for a tensor, and may fill memory with a hundred for each.
LONGEST = 2**20
#: Axes of a tensor, and bytes that it spans.
AXES, LARGEST = 32, 2**62

CONSTANTS: dict[bytes, Any] = {b"N": None, b"\x88": True, b"\x89": False}
NUMBERS = {b"K": "<B", b"M": "<H", b"J": "<i", b"G": ">d"}
#: The format of the length that precedes a text.
TEXTS = {b"\x8c": "<B", b"X": "<I", b"\x8d": "<Q"}
EMPTY: dict[bytes, type] = {b"}": dict, b"]": list, b")": tuple}
TUPLES = {b"\x85": 1, b"\x86": 2, b"\x87": 3}
#: Protocol and frames, which say nothing that is needed, and the bytes that follow.
SKIPPED = {b"\x80": 1, b"\x95": 8}
PUT, GET = {b"q": "<B", b"r": "<I"}, {b"h": "<B", b"j": "<I"}


def read_torch(path: Path) -> dict[str, Array]:
    """The arrays in a file that ``torch.save(model.state_dict(), path)`` wrote, by name, read-only.

    Bfloat16 comes as float32, which has all of its numbers. Tensors are views of the storages, which are views of the
    file's content: what they hold is not copied.

    Raises ``FileNotFoundError``, or ``ValueError`` that says what else the file is.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    content = path.read_bytes()
    try:
        if content.startswith(LEGACY):
            raise ValueError(
                "PyTorch's format from before version 1.6: save it anew, in PyTorch: torch.save(torch.load(path), path)"
            )
        return _state(_Interpreter(_Archive(content)).run())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _state(made: Any) -> dict[str, Array]:
    """What a program made, if it is a state dict."""
    if type(made) is not dict:
        raise ValueError(f"it holds a {_kind(made)}, and not a dict of tensors by name: {ADVICE}")
    others = [
        f"{key!r:.60}: {_kind(value)}"
        for key, value in made.items()
        if type(key) is not str or not isinstance(value, np.ndarray)
    ]
    if others:
        more = f", and {len(others) - 8} more" if len(others) > 8 else ""
        raise ValueError(f"it holds more than tensors by name: {', '.join(others[:8])}{more}. Instead, {ADVICE}")
    return made


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return "tensor"
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, dict | list | tuple) else type(value).__name__


class _Archive:
    """The members of a zip archive as PyTorch lays it out: in one folder, each once, and uncompressed."""

    def __init__(self, content: bytes) -> None:
        self.content = memoryview(content)
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                members = archive.infolist()
        except Exception as error:  # a damaged zip file makes zipfile raise almost anything
            raise ValueError(f"not a whole file of torch.save's: {error}") from error
        self.members = {member.filename: member for member in members}
        programs = [name for name in self.members if name.rpartition("/")[2] == "data.pkl"]
        if len(programs) != 1:
            raise ValueError(f"a zip archive, and not one of torch.save's: it has {len(programs)} members data.pkl")
        if len(self.members) < len(members) or sum(member.compress_size for member in members) > len(content):
            raise ValueError("its directory names a member twice, or more bytes than there are")
        self.folder = programs[0].removesuffix("data.pkl")
        order = bytes(self.read("byteorder")) if f"{self.folder}byteorder" in self.members else b"little"
        if order not in (b"little", b"big"):
            raise ValueError(f"its byte order is {order[:20]!r}, and not little or big")
        self.order = "<" if order == b"little" else ">"
        self.storages: dict[tuple[str, str], Array] = {}

    def read(self, name: str) -> memoryview:
        """The bytes of a member, checked against their checksum where there is one."""
        member = self.members.get(f"{self.folder}{name}")
        if member is None:
            raise ValueError(f"it has no member {name!r:.60}")
        at, size = member.header_offset, member.file_size
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1 or size != member.compress_size:
            raise ValueError(f"its member {name!r:.60} is compressed or locked, as torch.save's are not: save it anew")
        if not 0 <= at <= len(self.content) - 30 or bytes(self.content[at : at + 4]) != b"PK\x03\x04":
            raise ValueError(f"its directory is wrong about where its member {name!r:.60} is")
        start = at + 30 + sum(struct.unpack_from("<HH", self.content, at + 26))
        found = self.content[start : start + size]
        # 0 stands for no checksum, after torch.serialization.set_crc32_options(False).
        if member.CRC not in (0, zlib.crc32(found)):
            raise ValueError(f"its member {name!r:.60} is damaged")
        return found

    def storage(self, key: str, dtype: str) -> Array:
        """The numbers of one storage, on one axis."""
        if (key, dtype) not in self.storages:
            content, stored = self.read(f"data/{key}"), np.dtype(f"{self.order}{DTYPES[dtype]}")
            if len(content) % stored.itemsize:
                raise ValueError(f"storage {key!r:.60} has {len(content)} bytes, which are not {dtype}")
            array: Array = np.ndarray(len(content) // stored.itemsize, stored, content)
            array = widened(array) if dtype == "torch.bfloat16" else array != 0 if dtype == "torch.bool" else array
            array.flags.writeable = False
            self.storages[key, dtype] = array
        return self.storages[key, dtype]


@dataclass(frozen=True, slots=True)
class _Name:
    """One of ``NAMES``, which is all that it can be used as."""

    path: str


@dataclass(frozen=True, slots=True)
class _Storage:
    """A storage in the archive, and the dtype that its class stands for."""

    key: str
    dtype: str


class _Interpreter:
    """The stack machine that runs an archive's program: a few instructions, and no names but ``NAMES``."""

    def __init__(self, archive: _Archive) -> None:
        self.archive, self.program, self.at = archive, archive.read("data.pkl"), 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """What the program makes. Raises ``ValueError`` where it is damaged, or does what state dicts do not need."""
        if len(self.program) > LONGEST:
            raise ValueError(
                f"its program of {len(self.program)} bytes is too long for a state dict's of 7,000 tensors, the most "
                f"that is read here. If it is no state, {ADVICE}; if it is, save it as safetensors"
            )
        try:
            while (code := self.take(1)) != b".":
                self.step(code)
            return self.stack.pop()
        except (IndexError, KeyError, UnicodeDecodeError) as error:
            raise ValueError(f"its program is damaged at byte {self.at}") from error

    def take(self, count: int) -> bytes:
        """The next bytes of the program."""
        self.at += count
        if self.at > len(self.program):
            raise ValueError("its program ends early")
        return bytes(self.program[self.at - count : self.at])

    def number(self, kind: str) -> Any:
        """The next number, in a format of ``struct``'s."""
        return struct.unpack(kind, self.take(struct.calcsize(kind)))[0]

    def line(self) -> str:
        """The text up to the end of its line."""
        text, end, _ = bytes(self.program[self.at : self.at + 256]).partition(b"\n")
        if not end:
            raise ValueError("its program has a name that does not end")
        self.at += len(text) + 1
        return text.decode()

    def pop(self, kind: type) -> Any:
        """The topmost value, which must be of one type."""
        value = self.stack.pop()
        if type(value) is not kind:
            raise ValueError(f"its program takes a {_kind(value)} for a {kind.__name__.strip('_').lower()}")
        return value

    def above_mark(self) -> list[Any]:
        """All values above the last mark, taken off the stack."""
        mark = self.marks.pop()
        values = self.stack[mark:]
        del self.stack[mark:]
        return values

    def step(self, code: bytes) -> None:
        """One instruction."""
        push = self.stack.append
        if code in CONSTANTS:
            push(CONSTANTS[code])
        elif code in NUMBERS:
            push(self.number(NUMBERS[code]))
        elif code in TEXTS:
            push(self.take(self.number(TEXTS[code])).decode())
        elif code in EMPTY:
            push(EMPTY[code]())
        elif code in TUPLES:
            push(tuple(self.stack.pop() for _ in range(TUPLES[code]))[::-1])
        elif code in SKIPPED:
            self.take(SKIPPED[code])
        elif code in PUT:
            self.memo[self.number(PUT[code])] = self.stack[-1]
        elif code in GET:
            push(self.memo[self.number(GET[code])])
        else:
            self.rarer_step(code)

    def rarer_step(self, code: bytes) -> None:
        """One instruction that does more than to push a value."""
        push = self.stack.append
        match code:
            case b"\x94":  # remember under the next number
                self.memo[len(self.memo)] = self.stack[-1]
            case b"\x8a":
                push(int.from_bytes(self.take(self.number("<B")), "little", signed=True))
            case b"(":
                self.marks.append(len(self.stack))
            case b"t":
                push(tuple(self.above_mark()))
            case b"a":
                self.extend([self.stack.pop()])
            case b"e":
                self.extend(self.above_mark())
            case b"s":
                value = self.stack.pop()
                self.update([self.stack.pop(), value])
            case b"u":
                self.update(self.above_mark())
            case b"c":
                push(self.name(self.line(), self.line()))
            case b"\x93":
                name = self.pop(str)
                push(self.name(self.pop(str), name))
            case b"Q":
                push(self.storage(self.pop(tuple)))
            case b"R":
                args = self.pop(tuple)
                push(self.made(self.pop(_Name).path, args))
            case b"b":  # PyTorch's state dicts have attributes, which say nothing of the tensors
                self.pop(dict)
                push(self.pop(dict))
            case _:
                raise ValueError(f"its program has the instruction {code!r}, which state dicts do not need: {ADVICE}")

    def extend(self, values: list[Any]) -> None:
        """Append to the list on top of the stack."""
        owner = self.pop(list)
        owner.extend(values)
        self.stack.append(owner)

    def update(self, items: list[Any]) -> None:
        """Set keys, each before its value, in the dict on top of the stack."""
        owner = self.pop(dict)
        if len(items) % 2:
            raise ValueError("its program has a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) not in (str, int):
                raise ValueError(f"its program has a {_kind(key)} for a key: {ADVICE}")
            owner[key] = value
        self.stack.append(owner)

    def name(self, module: str, name: str) -> _Name:
        """A name that the program asks for."""
        path = f"{module}.{name}"
        if path in NO_ARRAYS:
            raise ValueError(f"it holds {NO_ARRAYS[path]}")
        if path not in NAMES:
            raise ValueError(
                f"it asks for {path!r:.120}, which NumPy's tensors do not need; it was not run. Instead, {ADVICE}"
            )
        return _Name(path)

    def storage(self, args: tuple[Any, ...]) -> _Storage:
        """What the program means by a persistent id."""
        match args:
            case ("storage", _Name(path=kind), str(key), str(), int(size)) if kind in STORAGES:
                if size != (found := len(self.archive.storage(key, STORAGES[kind]))):
                    raise ValueError(f"storage {key!r:.60} has {found} numbers, and {size} in its program")
                return _Storage(key, STORAGES[kind])
        raise ValueError("its program names something that is no storage")

    def made(self, function: str, args: tuple[Any, ...]) -> Any:
        """What a function of PyTorch's makes."""
        match args:
            case () if function == DICT:
                return {}
            case (np.ndarray() as tensor, *_) if function in DRESSED:
                return tensor
            case (_Name(path=inner), _Name(), tuple(inner_args), *_) if function == TYPED and inner in VIEWS:
                return self.made(inner, inner_args)
            case (_Storage(key, dtype), int(offset), tuple(shape), tuple(strides), *rest) if function in VIEWS:
                # Of the rest, whether it wants a gradient and its hooks say nothing, nor does a bit that is not set.
                if function.endswith("_v3"):
                    dtype = rest.pop(2).path if len(rest) > 2 and isinstance(rest[2], _Name) else ""
                if any(type(bits) is not dict or bits for bits in rest[2:] if bits is not None):
                    raise ValueError("it has a tensor that is yet to be conjugated or negated: save tensor.clone()")
                if dtype in DTYPES:
                    return self.view(key, dtype, offset, shape, strides)
        raise ValueError(f"its program gives {function} what it does not take")

    def view(self, key: str, dtype: str, offset: int, shape: tuple[Any, ...], strides: tuple[Any, ...]) -> Array:
        """A tensor as a view of a storage, checked to lie within."""
        base = self.archive.storage(key, dtype)
        numbers = (offset, *shape, *strides)
        if len(shape) != len(strides) or len(shape) > AXES or not all(type(n) is int and n >= 0 for n in numbers):
            raise ValueError("its program has a tensor with an offset, a shape and strides that do not make one")
        if math.prod(max(n, 1) for n in shape) * base.itemsize >= LARGEST:
            raise ValueError(f"it has a tensor of shape {shape}, which is too large")
        if 0 in shape:
            return np.empty(shape, base.dtype)
        steps = [step if n > 1 else 0 for n, step in zip(shape, strides, strict=True)]
        if offset + sum((n - 1) * step for n, step in zip(shape, steps, strict=True)) >= len(base):
            raise ValueError(f"it has a tensor of shape {shape} that ends outside storage {key!r:.60}")
        return np.ndarray(shape, base.dtype, base, offset * base.itemsize, [step * base.itemsize for step in steps])
