"""Damaged files: each reader reads them or raises its own error. ``python tests/test_fuzz_readers.py 5000`` tries more.

A row of ``READERS`` is all that a reader needs to be tried: whole files, how to read one, and words of its format.
"""

import contextlib
import faulthandler
import gzip
import io
import re
import struct
import sys
import tempfile
import traceback
import tracemalloc
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings, strategies as st
from PIL import Image, ImageDraw
from reference.pytorch_weights import FOLDER, NETWORKS
from torch_programs import archived, name, number, numbers, state, storage, tensor, text

import vugrad as vg
from vugrad.data import idx
from vugrad.data.archives import Archive, IdxFile
from vugrad.data.sources import location
from vugrad.files import as_json
from vugrad.interchange.tensors import read_tensors, write_tensors
from vugrad.interchange.torchfile import read_torch
from vugrad.lab.record import Record, Records, Run
from vugrad.lab.study import read_study
from vugrad.train import History
from vugrad.train.checkpoint import FORMAT, digest
from vugrad.train.handwriting import read_ink
from vugrad.train.history import Epoch
from vugrad.train.recipe import Recipe

#: After so many seconds a case hangs, and the process ends with the line where it did.
PATIENCE = 60
#: Bytes that a reader's first case may take besides, for the modules that it imports.
IMPORTS = 10_000_000


class Reader(NamedTuple):
    """How to try a reader: ``read`` gets a path that ends in ``suffix``.

    What it raises must be ``errors`` of its own; where ``named``, with the file's name in the message.
    """

    wholes: list[bytes]
    read: Any
    suffix: str = ""
    words: tuple[bytes, ...] = ()
    named: bool = True
    errors: tuple[type[Exception], ...] = (ValueError, OSError)
    found: tuple[bytes, ...] = ()  # files that it has failed on once


def load(path):
    """Into a model, which is what it was after an error."""
    model = NETWORKS["tied"][1](vg.nn)
    before = model.state_dict()
    try:
        vg.load_state(model, path)
    except Exception:
        assert all(x.tobytes() == before[name].tobytes() for name, x in model.state_dict().items())
        raise


def run_program(path):
    """As the program of an archive that is whole otherwise: a changed byte in one would be found by its checksum."""
    path.write_bytes(archived(path.read_bytes(), {f"data/{i}": bytes(16 * i) for i in range(4)}))
    read_torch(path)


def run_header(path):
    """As the header of a safetensors file of 64 bytes, whose length is right."""
    header = path.read_bytes()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(64))
    read_tensors(path)


def checkpointed():
    """What a checkpoint is of, and is loaded into."""
    model = vg.nn.Sequential(vg.nn.Linear(2, 2, rng=np.random.default_rng(0)), vg.nn.BatchNorm1d(2))
    optimizer = vg.optim.Adam(model.parameters())
    return model, optimizer, vg.optim.StepLR(optimizer, 2)


def load_into(path):
    """Into a model, an optimizer and a schedule, which are what they were after an error."""
    parts = model, optimizer, schedule = checkpointed()
    before = [(part, repr(part.state_dict())) for part in parts]
    try:
        vg.train.load_checkpoint(path, *parts)
    except Exception:
        assert all(repr(part.state_dict()) == state for part, state in before)
        raise
    assert np.isfinite(model.eval()(np.ones((1, 2), np.float32)).value).all()
    vg.train.save_checkpoint(path, model, optimizer, schedule, vg.train.load_checkpoint(path, model))


def load_manifest(path):
    """As the manifest of a checkpoint whose hash is right."""
    manifest = path.read_bytes().decode(errors="replace")
    metadata = {"format": FORMAT, "manifest": manifest, "sha256": digest(manifest, CHECKPOINT[0])}
    write_tensors(path, CHECKPOINT[0], metadata)
    load_into(path)


def whole_checkpoint():
    """The arrays, the manifest and the file of one."""
    model, optimizer, schedule = checkpointed()
    model(np.eye(2, dtype=np.float32)).sum().backward()
    optimizer.step()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.safetensors"
        epoch = Epoch(1, 0.5, None, 0.4, 0.9, 0.1, 1.0, 10.0)
        vg.train.save_checkpoint(path, model, optimizer, schedule, History([epoch]))
        arrays, metadata = read_tensors(path)
        return arrays, metadata["manifest"].encode(), path.read_bytes()


CHECKPOINT = whole_checkpoint()


def pictures():
    """A digit's stroke in the kinds of picture that are read."""
    stroke = Image.new("L", (20, 24), 255)
    ImageDraw.Draw(stroke).line([(5, 4), (14, 5), (8, 20)], 0, 2)
    for kind, picture in (
        ("PNG", stroke),
        ("PNG", stroke.convert("P")),
        ("PNG", stroke.convert("RGBA")),
        ("JPEG", stroke),
    ):
        file = io.BytesIO()
        picture.save(file, kind)
        yield file.getvalue()


IMAGES = np.arange(24, dtype=np.uint8).reshape(4, 3, 2)
IDX = idx.header(IMAGES.shape) + IMAGES.tobytes()


def find(path, **places):
    """Among the places in which a dataset's file is looked for; it is passed over unless it is right."""
    right = IdxFile("images", "x_train", IMAGES.shape, "no file has this SHA-256")
    assert (
        location(Archive("none", (right,), **{"torchvision": "none", "keras": "none", "hosts": (), **places})) is None
    )


def find_zipped(path):
    (path.parent / "raw").mkdir(exist_ok=True)
    path.replace(path.parent / "raw" / "images.gz")
    find(path, torchvision=str(path.parent))


def find_npz(path):
    find(path, keras=str(path))


RUN = Run(Recipe(data="synth", hidden=(4,)), 0)


def read_record(path):
    """As the one of a run, whose file has the name of its key."""
    records = Records(path.parent)
    path.replace(records.path(RUN))
    records.read(RUN)


def find_record(path):
    Records(path.parent).find(path.stem)


def run_study(path):
    """All but to run it: that may be refused, as rates below zero are, but not be left to Python's own errors."""
    study = read_study(path)
    with contextlib.suppress(ValueError):
        study.runs()


def npz(**arrays):
    with tempfile.TemporaryFile() as file:
        np.savez_compressed(file, **arrays)
        file.seek(0)
        return file.read()


def tensors(**arrays):
    with tempfile.TemporaryDirectory() as folder:
        write_tensors(Path(folder) / "file", arrays, {"format": "pt"})
        return (Path(folder) / "file").read_bytes()


def record():
    epoch = Epoch(1, 0.5, 0.9, None, None, 0.01, 2.0, 2000.0)
    return as_json(Record(RUN, History([epoch] * 2), 0.5, 0.9, "00", 2, {"numpy": "2"}).as_dict())


SAFETENSORS = [
    (FOLDER / "tied.safetensors").read_bytes(),
    tensors(a=np.ones((2, 3), np.float16), b=np.array(True), c=np.zeros((0, 2), np.int64), d=np.array([1, 2], "u1")),
]
SAFETENSORS.append(SAFETENSORS[1].replace(b'"F16"', b'"BF16"').replace(b" ", b"", 1))
TORCH = [(FOLDER / f"{name}.pt").read_bytes() for name in ("tied", "residual-protocol5", "refused-checkpoint")]
PROGRAMS = [
    state(text("a"), tensor((2,), (1,), 1, storage("1", size=4)), text("b"), tensor((), (), 0, storage("1", size=4))),
    name("collections.OrderedDict")
    + b")Rq\0("
    + text("a")
    + tensor(stored=storage("3", "torch.HalfStorage", 24))
    + b"u}b.",
    state(text("a"), tensor((4,), (1,), 0, storage("1", "torch.storage.UntypedStorage", 16)), text("b") + b"]q\0h\0a"),
]
HEADER = b"""{"__metadata__":{"a":"b"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},
"b":{"dtype":"BF16","shape":[],"data_offsets":[24,26]},"c":{"dtype":"I64","shape":[0,5],"data_offsets":[26,26]},
"d":{"dtype":"BOOL","shape":[38],"data_offsets":[26,64]}}"""
OPCODES = tuple(
    bytes([i]) for i in b"(.0N}])tRQbcasuehqjrKMJGXoi2P\x80\x81\x82\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x93\x94\x95"
)
PHRASES = (
    *(number(n) for n in (0, 1, 2, 3, 4, 16, 24, -1, 2**31 - 1, 2**62, 2**64, 2**100)),
    *(text(value) for value in ("a", "b", "0", "1", "3", "storage", "cpu", "../1")),
    *(name(f"torch.{kind}Storage") for kind in ("Float", "Half", "BFloat16", "Bool", "Double", "storage.Untyped")),
    *(name(f"torch._utils._rebuild_{maker}") for maker in ("tensor", "tensor_v2", "tensor_v3", "parameter")),
    *(name(path) for path in ("torch.Tensor", "torch._tensor._rebuild_from_type_v2", "torch.int8", "os.system")),
    *(storage("1", size=4), tensor(), numbers(2, 2), numbers(1, 0), name("collections.OrderedDict") + b")R"),
)
STUDY = b"""title = "Width"
seeds = [0, 1]
read = [1]
note = "A note"
[base]
data = "synth"
model = "mlp"
epochs = 5
lr = 0.1
[vary]
hidden = [[64], [128]]
optimizer = ["adam", "sgd"]
[vary.kind]
small = {dropout = 0.5}
[search]
batch_size = {low = 1, high = 128, log = true}
[quick]
epochs = 1
[reported.1]
loss = 0.5
"""
DEEP = b"[" * 3000
TOML = (
    *(b"0", b"1", b"-1", b"2.5", b"1e999", b"nan", b"true", b"1979-05-27", b'"a"', b'"', b"'''", b"\xff", DEEP),
    *(b"[", b"]", b"[[", b"{", b"}", b"[]", b"{}", b"[[1]]", b"=", b"[base]", b"[vary]", b"epochs", b"seeds"),
)
JSON = (
    *(b"0", b"-1", b"2.5", b"1e999", b"9" * 5000, b"NaN", b"null", b"true", b'"a"', b'"', b'"\\ud800"', b"\xff", DEEP),
    *(b"[", b"]", b"{", b"}", b"[]", b"{}", b"[[1]]", b":", b",", b'"a":'),
)
STUDIES = (b"\x80", b"seeds = 1", b"[vary]\nlr = 1", b"title = " + DEEP, b"[vary" + 5000 * b".a" + b"]", b"vary = []")
TYPES = (b"F16", b"BF16", b"F8_E4M3", b"BOOL", b"U8", b"I64", b"C64", b"F4", b"__metadata__")

READERS = {
    "safetensors": Reader(SAFETENSORS, read_tensors, words=TYPES),
    "safetensors' header": Reader(
        [HEADER], run_header, words=(*JSON, *TYPES, b"24", b"26", b"64", b"18446744073709551616")
    ),
    "torch.save": Reader(TORCH, read_torch),
    "torch.save's program": Reader(PROGRAMS, run_program, words=(*OPCODES, *PHRASES)),
    "load_state": Reader([SAFETENSORS[0], TORCH[0]], load, words=(*JSON, b"F64", b"F16")),
    "checkpoint": Reader([CHECKPOINT[2]], load_into),
    "checkpoint's manifest": Reader([CHECKPOINT[1]], load_manifest, ".safetensors", JSON),
    "pictures": Reader(list(pictures()), read_ink, ".png", (b"IHDR", b"IDAT", b"PLTE", b"tRNS", b"IEND", b"eXIf")),
    "idx": Reader([IDX], lambda path: idx.parse(path.read_bytes()), named=False),
    "idx, zipped": Reader([gzip.compress(IDX, mtime=0)], find_zipped),
    "npz": Reader([npz(x_train=IMAGES)], find_npz, ".npz"),
    "study": Reader([STUDY], run_study, ".toml", TOML, found=STUDIES),
    "record": Reader([record()], read_record, ".json", JSON, named=False, found=(DEEP,)),
    "record, by its name": Reader([record()], find_record, ".json", JSON, found=(DEEP,)),
}


# --- damage

INTERESTING = [
    0,
    1,
    2,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**40,
    2**62,
    2**63 - 1,
    2**64 - 1,
]
#: What a word may stand for: another like it, or all between a sign of equality and the line's end.
TOKENS = [re.compile(rb"[\w.+-]+|.", re.DOTALL), re.compile(rb"(?<=[=:]).*?(?=,?\n)")]


def alike(word, other):
    """Whether two words begin alike, as those of one kind do in most formats."""
    return word[:1] == other[:1] or (word[:1].isdigit() and other[:1].isdigit())


@st.composite
def damaged(draw, reader):
    """A whole file with one to four things done to it."""
    content = draw(st.sampled_from(reader.wholes))
    words = st.sampled_from(reader.words)
    word = re.compile(b"|".join(map(re.escape, sorted(reader.words, key=len, reverse=True))))
    # Half of the files keep most of their form, so that what lies behind the first check is tried too.
    if gentle := draw(st.booleans()):
        kinds = ["kin", "token"] if reader.words else ["flip", "bytes", "number"]
    else:
        kinds = [
            "cut",
            "flip",
            "bytes",
            "number",
            "double",
            "repeat",
            "splice",
            *(["word", "token"] if reader.words else []),
        ]
    for _ in range(draw(st.integers(1, 2 if gentle else 4))):
        at = draw(st.integers(0, len(content)))
        until = at + draw(st.sampled_from([1, 2, 4, 8, 30, 100]))
        before, piece, after = content[:at], content[at:until], content[until:]
        match draw(st.sampled_from(kinds)):
            case "cut":
                content = before + draw(st.sampled_from([after, b""]))
            case "flip" if piece:
                content = before + bytes([piece[0] ^ 1 << draw(st.integers(0, 7))]) + content[at + 1 :]
            case "bytes":
                new = draw(st.binary(max_size=8))
                content = before + new + content[at + len(new) :]
            case "number":
                form = draw(st.sampled_from(["<B", "<H", "<I", "<Q", ">I", ">Q"]))
                size = struct.calcsize(form)
                number = draw(st.sampled_from([*INTERESTING, len(content), at])) % 2 ** (8 * size)
                content = before + struct.pack(form, number) + content[at + size :]
            case "word":
                content = before + draw(words) + content[at:]
            case "token":
                places = list(draw(st.sampled_from(TOKENS)).finditer(content))
                if places:
                    place = draw(st.sampled_from(places))
                    content = content[: place.start()] + draw(words) + content[place.end() :]
            case "kin":
                places = list(word.finditer(content))
                if places:
                    place = draw(st.sampled_from(places))
                    new = draw(st.sampled_from([other for other in reader.words if alike(other, place[0])]))
                    content = content[: place.start()] + new + content[place.end() :]
            case "double":
                content = before + piece + piece + after
            case "repeat":
                content = before + piece[: until % 7] * draw(st.sampled_from([3, 100, 5000])) + after
            case "splice":
                other = draw(st.sampled_from(reader.wholes))
                content = before + other[draw(st.integers(0, len(other))) :]
    return content


def survive(reader, content, folder):
    """Read one file: it is read, or refused in the reader's own words, soon, and without much memory."""
    path = Path(folder) / f"content{reader.suffix}"
    path.write_bytes(content)
    # The watchdog is a thread, and memory is not to be traced from one moment to the next while it begins or ends.
    tracemalloc.start()
    faulthandler.dump_traceback_later(PATIENCE, exit=True, file=sys.__stderr__)
    refused = None
    try:
        reader.read(path)
    except reader.errors as error:
        refused = str(error)
    finally:
        faulthandler.cancel_dump_traceback_later()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert refused is None or path.name in refused or not reader.named, f"the error does not name the file: {refused}"
    assert most < IMPORTS + 100 * len(content), f"{most} bytes of memory for a file of {len(content)}"


def trial(reader, count):
    """The test of a reader on so many files."""
    with tempfile.TemporaryDirectory() as folder:
        for content in (*reader.wholes, *reader.found):
            survive(reader, content, folder)

    @given(damaged(reader))
    @settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))
    def test(content):
        with tempfile.TemporaryDirectory() as folder:
            survive(reader, content, folder)

    return test


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_read_or_refused(name):
    trial(READERS[name], 200)()


def main():
    """So many files, from a seed on, for the readers that are named, or for all; 4 GB of memory must do."""
    count, begin = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))
    warnings.simplefilter("error")
    settings.register_profile("long", derandomize=False, database=None, print_blob=False)
    settings.load_profile("long")
    failed: list[str] = []
    for row, reader in READERS.items():
        if row in (sys.argv[3:] or READERS):
            try:
                seed(begin)(trial(reader, count))()
                print(f"{row}: {count} files, each read or refused", flush=True)
            except Exception as error:
                failed.append(row)
                traceback.print_exception(error)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
