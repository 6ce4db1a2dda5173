"""The reader of torch.save's files against files that are damaged, or made to do harm."""

import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from torch_programs import archived, name, number, numbers, state, storage, tensor, text

from vugrad.interchange.torchfile import LONGEST, read_torch


@pytest.fixture
def read(tmp_path):
    def read(content):
        (tmp_path / "weights.pt").write_bytes(content)
        return read_torch(tmp_path / "weights.pt")

    return read


def test_a_program_written_by_hand_is_read(read):
    found = read(archived(state(text("w"), tensor(), text("v"), tensor((2,), (2,), 1))))
    assert found["w"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["v"].tolist() == [1, 3]


def test_the_stride_of_one_element_is_free(read):
    found = read(archived(state(text("w"), tensor((1, 6, 1), (2**62, 1, 2**62)))))["w"]
    assert found.tolist() == [[[x] for x in range(6)]]


def test_tensors_of_one_storage_take_no_memory_of_their_own(read):
    found = read(
        archived(state(text("w"), tensor(), text("v"), tensor((3, 2), (1, 3)), text("x"), tensor((2**40,), (0,))))
    )
    assert np.shares_memory(found["w"], found["v"])
    assert found["x"].shape == (2**40,)


@pytest.mark.parametrize(("kind", "dtype"), [("Float", ">f4"), ("Long", ">i8"), ("BFloat16", ">u2"), ("Bool", ">u1")])
def test_numbers_of_the_other_byte_order(kind, dtype, read):
    numbers = np.array([0, 1, 3], dtype)
    stored = storage(kind=f"torch.{kind}Storage", size=3)
    members = {"data/0": numbers.tobytes(), "byteorder": b"big"}
    found = read(archived(state(text("w"), tensor((3,), (1,), 0, stored)), members))["w"]
    expected = {"BFloat16": (numbers.astype("u4") << 16).view("f4"), "Bool": numbers != 0}.get(kind, numbers)
    assert found.tolist() == expected.tolist()


V3, TYPED = "torch._utils._rebuild_tensor_v3", "torch._tensor._rebuild_from_type_v2"
DEEP = 100_000
EVIL = {
    "a call": (b"cos\nsystem\n(" + text("echo") + b"tR.", r"asks for 'os\.system'.*not run"),
    "a call by texts": (text("builtins") + text("eval") + b"\x93.", r"asks for 'builtins\.eval'.*not run"),
    "a class of ours": (name("vugrad.nn.Module") + b")R.", r"asks for 'vugrad\.nn\.Module'"),
    "an attribute": (
        name("torch._utils._rebuild_tensor_v2.__globals__") + b".",
        r"asks for 'torch\._utils\._rebuild_t",
    ),
    "a name that does not end": (b"c" + b"a" * 1000, "a name that does not end"),
    "an object": (name("torch.Tensor") + b")\x81.", r"the instruction b'\\x81'"),
    "an extension": (b"\x82\x01.", r"the instruction b'\\x82'"),
    "a text id": (b"Pstorage\n.", r"the instruction b'P'"),
    "a call of a text": (text("collections.OrderedDict") + b")R.", "takes a str for a name"),
    "a call of a storage": (name("torch.FloatStorage") + b")R.", r"gives torch\.FloatStorage what it does not take"),
    "a call without arguments": (name("collections.OrderedDict") + b"]R.", "takes a list of 0 for a tuple"),
    "attributes of a list": (b"]}b.", "takes a list of 0 for a dict"),
    "a nested maker": (name(TYPED) + b"(" + name(TYPED) + name("torch.Tensor") + b")tR.", "what it does not take"),
    "a maker of nothing": (name(V3) + b")R.", "what it does not take"),
    "a maker in itself": (
        (name(TYPED) + b"(" + name(TYPED) + name("torch.Tensor") + b"(")
        + (name("torch._utils._rebuild_tensor_v2") + name("torch.Tensor") + b"(")
        + (storage() + number(0) + numbers(6) + numbers(1) + b"\x89}tttR."),
        "what it does not take",
    ),
    "a dtype that is none": (state(text("w"), tensor(maker=V3, rest=b"\x89}N")), "what it does not take"),
    "a parameter of nothing": (name("torch._utils._rebuild_parameter") + b"(}tR.", "what it does not take"),
    "an id that is none": (b"(" + text("storage") + b"tQ.", "names something that is no storage"),
    "an id with a dtype": (
        b"(" + text("storage") + name("torch.int8") + text("0") + text("") + b"K\6tQ.",
        "no storage",
    ),
    "no such storage": (state(text("w"), tensor(stored=storage("7"))), "no member 'data/7'"),
    "a path": (state(text("w"), tensor(stored=storage("../../../etc/passwd"))), "no member 'data/../../../etc/passwd'"),
    "a storage of another size": (state(text("w"), tensor(stored=storage(size=7))), "has 6 numbers, and 7 in its prog"),
    "a storage of a negative size": (state(text("w"), tensor(stored=storage(size=-6))), "has 6 numbers, and -6"),
    "a storage of another dtype": (
        state(text("w"), tensor(stored=storage(kind="torch.ComplexDoubleStorage", size=1))),
        r"has 24 bytes, which are not torch\.complex128",
    ),
    "outside": (state(text("w"), tensor((2, 3), (3, 2))), r"shape \(2, 3\) that ends outside storage '0'"),
    "an offset outside": (state(text("w"), tensor((1,), (1,), 6)), "ends outside storage"),
    "a negative stride": (state(text("w"), tensor((2,), (-1,), 3)), "do not make one"),
    "a negative extent": (state(text("w"), tensor((-2,), (1,))), "do not make one"),
    "a negative offset": (state(text("w"), tensor((2,), (1,), -1)), "do not make one"),
    "strides of another length": (state(text("w"), tensor((2, 3), (1,))), "do not make one"),
    "many axes": (state(text("w"), tensor((1,) * 65, (1,) * 65)), "do not make one"),
    "a huge tensor": (state(text("w"), tensor((2**40, 2**40), (0, 0))), "too large"),
    "a huge empty tensor": (state(text("w"), tensor((0, 2**62), (0, 0))), "too large"),
    "a huge stride": (state(text("w"), tensor((2,), (2**62,))), "ends outside storage"),
    "bits that are none": (state(text("w"), tensor(rest=b"\x89}K\1")), "yet to be conjugated or negated"),
    "a list of shapes": (
        name("torch._utils._rebuild_tensor_v2") + b"(" + storage() + b"K\0]]\x89}tR.",
        "what it does not take",
    ),
    "a shape of lists": (
        name("torch._utils._rebuild_tensor_v2") + b"(" + storage() + b"K\0]\x85]\x85\x89}tR.",
        "do not make one",
    ),
    "a deep key": (b"})" + b"\x85" * DEEP + b"Ns.", "has a tuple of 1 for a key"),
    "deep tuples": (b")" + b"\x85" * DEEP + b".", "it holds a tuple of 1, and not a dict"),
    "deep lists": (b"]" * DEEP + b"a" * (DEEP - 1) + b".", "it holds a list of 1, and not a dict"),
    "deep in a tensor": (
        name("torch._utils._rebuild_tensor_v2") + b"(" + storage() + b"K\0)" + b"\x85" * DEEP + b"))tR.",
        "do not make one|does not take",
    ),
    "a list in itself": (b"}q\0X\1\0\0\0a]q\1h\1as.", "'a': list of 1"),
    "a dict in itself": (b"}q\0X\1\0\0\0ah\0s.", "'a': dict of 1"),
    "many marks": (b"(" * DEEP + b"t" * DEEP + b".", "it holds a tuple of 1"),
    "a laugh": (b")q\0" + b"h\0h\0\x86q\0" * 200 + b".", "it holds a tuple of 2, and not a dict"),
    "a memo that is empty": (b"h\5.", "damaged at byte 2"),
    "a far memo": (b"}r\xff\xff\xff\xffj\xff\xff\xff\xff(j\0\0\0\0u.", "damaged at byte"),
    "nothing to remember": (b"q\0.", "damaged at byte"),
    "no mark": (b"}u.", "damaged at byte 2"),
    "nothing to call": (b"R.", "damaged at byte 1"),
    "nothing at all": (b".", "damaged at byte 1"),
    "an empty program": (b"", "ends early"),
    "an end in a text": (b"X\xff\xff\xff\x7fabc", "ends early"),
    "an end in a long text": (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc", "ends early"),
    "no text": (b"X\2\0\0\0\xff\xfe.", "damaged at byte"),
    "a key without a value": (b"}(X\1\0\0\0au.", "a key without a value"),
    "a number for a name": (state(number(3), tensor()), "3: tensor"),
    "a long program": (b"N" * (LONGEST + 1), "too long for a state dict"),
}


@pytest.mark.parametrize("case", EVIL)
def test_a_program_that_does_harm_is_refused(case, read):
    program, message = EVIL[case]
    with pytest.raises(ValueError, match=rf"weights\.pt: .*({message})"):
        read(archived(program))


@pytest.mark.parametrize("program", [b")" + b"\x85" * 20_000, b"}]\x94" * 10_000, b"N" * 20_000, b"(" * 20_000])
def test_a_program_takes_memory_in_proportion_to_its_length(program, read):
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"it holds a|ends early"):
            read(archived(program))
        assert tracemalloc.get_traced_memory()[1] < 200_000 + 100 * len(program)
    finally:
        tracemalloc.stop()


GOOD = state(text("w"), tensor())
FILE = archived(GOOD)


def directed(content, field, form, value):
    """An archive whose directory says something else of its last member, ``field`` bytes into what it says."""
    at = content.rindex(b"PK\1\2") + field
    return content[:at] + struct.pack(form, value) + content[at + struct.calcsize(form) :]


COMPRESSED, SIZE, OFFSET = 20, 24, 42
COMMENTED = FILE[:-2] + b"\4\0PK\3\4"
ARCHIVES = {
    "compressed": (archived(GOOD, compression=zipfile.ZIP_DEFLATED), r"member 'data\.pkl' is compressed"),
    "a bomb": (archived(b"N" * 10_000_000, compression=zipfile.ZIP_DEFLATED), r"member 'data\.pkl' is compressed"),
    "no program": (archived(GOOD).replace(b"data.pkl", b"data.pck"), "it has 0 members data.pkl"),
    "two programs": (archived(GOOD, {"code/data.pkl": GOOD}), "it has 2 members data.pkl"),
    "another byte order": (archived(GOOD, {"byteorder": b"middle"}), "byte order is b'middle'"),
    "a number changed": (FILE.replace(struct.pack("<f", 5), struct.pack("<f", 6)), "member 'data/0' is damaged"),
    "a program changed": (FILE.replace(b"cpu", b"gpu"), r"member 'data\.pkl' is damaged"),
    "a member twice": (archived(GOOD, {"data/1": b""}).replace(b"data/1", b"data/0"), "names a member twice"),
    "more than there is": (
        directed(directed(FILE, SIZE, "<I", 10**6), COMPRESSED, "<I", 10**6),
        "or more bytes than there are",
    ),
    "two sizes": (directed(FILE, SIZE, "<I", 48), "member 'data/0' is compressed"),
    "another place": (directed(FILE, OFFSET, "<I", 7), "is wrong about where its member 'data/0' is"),
    "a place at the end": (
        directed(COMMENTED, OFFSET, "<I", len(COMMENTED) - 4),
        "wrong about where its member 'data/0'",
    ),
    "an end in the directory": (FILE[:-30], "not a whole file of torch.save's"),
    "an end in a member": (FILE[:100], "not a whole file of torch.save's"),
    "a beginning": (FILE[:4], "not a whole file of torch.save's"),
    "no zip": (b"PK and more", "not a whole file of torch.save's"),
    "a bare program": (GOOD, "not a whole file of torch.save's"),
}


@pytest.mark.parametrize("case", ARCHIVES)
def test_an_archive_that_is_not_pytorchs_is_refused(case, read):
    content, message = ARCHIVES[case]
    assert read(FILE)["w"].shape == (2, 3)
    with pytest.raises(ValueError, match=rf"weights\.pt: .*{message}"):
        read(content)
