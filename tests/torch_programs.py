"""Files of torch.save's made by hand: programs in the words of pickle's protocol 2, and archives of them."""

import io
import struct
import zipfile

import numpy as np


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value):
    return (
        b"J" + struct.pack("<i", value)
        if abs(value) < 2**31
        else b"\x8a\x10" + value.to_bytes(16, "little", signed=True)
    )


def numbers(*values):
    return b"(" + b"".join(map(number, values)) + b"t"


def name(path):
    module, _, last = path.rpartition(".")
    return f"c{module}\n{last}\n".encode()


def storage(key="0", kind="torch.FloatStorage", size=6):
    return b"(" + text("storage") + name(kind) + text(key) + text("cpu") + number(size) + b"tQ"


def tensor(shape=(2, 3), strides=(3, 1), offset=0, stored=None, maker="torch._utils._rebuild_tensor_v2", rest=b"\x89}"):
    view = (stored or storage()) + number(offset) + numbers(*shape) + numbers(*strides)
    return name(maker) + b"(" + view + rest + b"tR"


def state(*items, begin=b"\x80\x02}"):
    return begin + b"(" + b"".join(items) + b"u."


def archived(program, others=(), compression=zipfile.ZIP_STORED):
    """An archive as PyTorch lays it out, with one storage, 0, of six numbers; ``others`` are more members."""
    members = {"data.pkl": program, "data/0": np.arange(6, dtype="<f4").tobytes(), **dict(others)}
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        for member, held in members.items():
            archive.writestr(f"weights/{member}", held)
    return content.getvalue()
