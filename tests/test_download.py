"""Where the files of an archive come from: folders, other libraries' caches, the web; and what is passed over.

All against an archive of four tiny files and a server on this machine.
"""

from __future__ import annotations

import gzip
import hashlib
import sys
import threading
import time
import tracemalloc
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from vugrad.data import download, idx
from vugrad.data.archives import FASHION, MNIST, Archive, IdxFile
from vugrad.data.sources import cache_folder, fetch

rng = np.random.default_rng(0)
ARRAYS = {
    "x_train": rng.integers(0, 256, (6, 4, 3), np.uint8),
    "y_train": rng.integers(0, 10, 6, np.uint8),
    "x_test": rng.integers(0, 256, (2, 4, 3), np.uint8),
    "y_test": rng.integers(0, 10, 2, np.uint8),
}
NAMES = dict(zip(ARRAYS, (file.name for file in MNIST.files), strict=True))
PLAIN = {NAMES[key]: idx.header(array.shape) + array.tobytes() for key, array in ARRAYS.items()}
ZIPPED = {name: gzip.compress(content) for name, content in PLAIN.items()}
FIRST = NAMES["x_train"]
FILES = tuple(
    IdxFile(NAMES[key], key, array.shape, hashlib.sha256(PLAIN[NAMES[key]]).hexdigest())
    for key, array in ARRAYS.items()
)


def archive(*hosts, keras="tiny.npz"):
    return Archive("tiny", FILES, "Tiny", keras, hosts)


def is_right(splits):
    (train_x, train_y), (test_x, test_y) = splits
    return all(
        np.array_equal(array, right) and array.dtype == np.uint8
        for array, right in zip((train_x, train_y, test_x, test_y), ARRAYS.values(), strict=True)
    )


def put(folder, zipped=False, **instead):
    """The four files in ``folder``; ``first=`` replaces the content of the first."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in PLAIN:
        content = ZIPPED[name] if zipped else PLAIN[name]
        if name == FIRST:
            content = instead.get("first", content)
        (folder / f"{name}{'.gz' if zipped else ''}").write_bytes(content)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home and a working directory with nothing in them, and no way out through a proxy."""
    for folder in ("home", "work"):
        (tmp_path / folder).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("VUGRAD_DATA", raising=False)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


@pytest.fixture
def server():
    """``answers[path]`` is (status, headers, body) or a function of the handler; ``asked`` lists the paths."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            state.asked.append(self.path)
            answer = state.answers.get(self.path, (404, {}, b"no such page"))
            if callable(answer):
                answer(self)
                return
            status, headers, body = answer
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        state = SimpleNamespace(answers={}, asked=[], url=f"http://127.0.0.1:{http.server_port}")
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield state
        http.shutdown()
        thread.join()


def serve(server, host, **instead):
    """The four zipped files at ``/host/``, the first perhaps with another answer; returns the address."""
    for name, content in ZIPPED.items():
        server.answers[f"/{host}/{name}.gz"] = (200, {}, content)
    if "first" in instead:
        server.answers[f"/{host}/{FIRST}.gz"] = instead["first"]
    return f"{server.url}/{host}/"


# On disk


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("folder", "keras"),
    [
        ("home/named/tiny", "tiny.npz"),
        ("home/named", "tiny.npz"),
        ("home/.cache/vugrad/tiny", "tiny.npz"),
        ("work/data/Tiny/raw", "tiny.npz"),
        ("work/Tiny/raw", "tiny.npz"),
        ("home/data/Tiny/raw", "tiny.npz"),
        ("home/.cache/torch/Tiny/raw", "tiny.npz"),
        ("home/.keras/datasets/tiny", "tiny"),
    ],
)
def test_folders_that_are_looked_into(folder, keras, zipped, tmp_path, monkeypatch):
    monkeypatch.setenv("VUGRAD_DATA", str(tmp_path / "home" / "named"))
    put(tmp_path / folder, zipped)
    assert is_right(fetch(archive(keras=keras)))


def test_the_cache_folder_follows_xdg(tmp_path, home, monkeypatch):
    assert cache_folder(MNIST) == home / ".cache" / "vugrad" / "mnist"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    put(tmp_path / "xdg" / "vugrad" / "tiny")
    assert is_right(fetch(archive()))


def test_kerass_npz(home):
    (home / ".keras" / "datasets").mkdir(parents=True)
    np.savez(home / ".keras" / "datasets" / "tiny.npz", **ARRAYS)
    assert is_right(fetch(archive()))


class Trap:
    """Unpickling this is a crime."""

    def __reduce__(self):
        return (sys.exit, ("unpickled",))


def test_nothing_is_ever_unpickled(home):
    (home / ".keras" / "datasets").mkdir(parents=True)
    trap = np.array([Trap()], dtype=object)
    np.savez(home / ".keras" / "datasets" / "tiny.npz", **dict.fromkeys(ARRAYS, trap))
    with pytest.raises(FileNotFoundError, match=r"tiny\.npz: "):
        fetch(archive())


BROKEN = {
    "an HTML page": (b"<!DOCTYPE html><title>Log in</title>", "begins with b'<!DOCTYPE html>"),
    "nothing": (b"", "begins with b''"),
    "half a zipped file": (ZIPPED[FIRST][:60], "ended before the end-of-stream"),
    "half a file": (PLAIN[FIRST][:50], r"shorter than its header says: shape \(6, 4, 3\) takes 88 bytes"),
    "a file and more": (PLAIN[FIRST] + b"!", "longer than its header says"),
    "half a header": (PLAIN[FIRST][:6], "ends inside its header, after 6 bytes"),
    "other floats": (b"\0\0\x0d\3" + PLAIN[FIRST][4:], "not an idx file of bytes"),
    "another file": (PLAIN[NAMES["x_test"]], r"an array of shape \(2, 4, 3\), not \(6, 4, 3\)"),
    "a wrong pixel": (PLAIN[FIRST][:-1] + b"\0", f"its SHA-256 is [0-9a-f]{{64}}, not {FILES[0].sha256}"),
}


@pytest.mark.parametrize(("content", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_is_passed_over_with_its_reason(content, reason, home, monkeypatch):
    named = home / "named"
    monkeypatch.setenv("VUGRAD_DATA", str(named))
    put(named, first=content)
    with pytest.raises(FileNotFoundError, match=rf"named/{FIRST}: .*{reason}"):
        fetch(archive())

    put(named, zipped=True)  # beside the broken one
    assert is_right(fetch(archive()))
    for path in named.glob("*.gz"):
        path.unlink()
    put(cache_folder(archive()))
    assert is_right(fetch(archive()))


def test_a_folder_under_the_files_name_is_passed_over(home):
    put(home / "data" / "Tiny" / "raw")
    (cache_folder(archive()) / FIRST).mkdir(parents=True)
    assert is_right(fetch(archive()))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), kind=st.sampled_from(["plain", "zipped", "npz"]))
def test_damage_is_always_noticed(data, kind, home):
    """Cut off and overwrite bytes: the right arrays come out, or our own error, and nothing else."""
    put(cache_folder(archive()))
    np.savez_compressed(home / "whole.npz", **ARRAYS)
    wholes = {"plain": PLAIN[FIRST], "zipped": ZIPPED[FIRST], "npz": (home / "whole.npz").read_bytes()}
    content = bytearray(wholes[kind])
    for where, byte in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=4)
    ):
        content[where] = byte
    content = bytes(content[: data.draw(st.integers(0, len(content)))])
    if kind == "npz":
        (cache_folder(archive()) / FIRST).unlink()
        target = home / ".keras" / "datasets" / "tiny.npz"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    else:
        (cache_folder(archive()) / FIRST).write_bytes(content)
    try:
        splits = fetch(archive())
    except FileNotFoundError:
        splits = None
    assert is_right(splits) if splits else content != wholes[kind]


@given(st.binary(max_size=64) | st.binary(max_size=64).map(lambda rest: idx.MAGIC + rest))
def test_any_bytes_parse_or_are_refused(content):
    try:
        array = idx.parse(content)
    except ValueError:
        return
    assert idx.header(array.shape) + array.tobytes() == content


@pytest.mark.parametrize("content", [b"\0" * 50_000_000, idx.header((2**32 - 1, 2**32 - 1, 7))])
def test_a_bomb_takes_no_memory(content, home):
    put(cache_folder(archive()), zipped=True, first=gzip.compress(content, 1))
    tracemalloc.start()
    try:
        with pytest.raises(FileNotFoundError):
            fetch(archive())
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_bomb_in_an_npz_takes_no_memory(home):
    (home / ".keras" / "datasets").mkdir(parents=True)
    with zipfile.ZipFile(home / ".keras" / "datasets" / "tiny.npz", "w", zipfile.ZIP_DEFLATED) as npz:
        npz.writestr("x_train.npy", b"\0" * 50_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(FileNotFoundError):
            fetch(archive())
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


# From the web


def test_a_download_is_kept_unzipped_and_not_repeated(server):
    tiny = archive(serve(server, "a"))
    assert is_right(fetch(tiny))
    assert {path.name: path.read_bytes() for path in cache_folder(tiny).iterdir()} == PLAIN
    assert len(server.asked) == 4
    assert is_right(fetch(tiny))
    assert len(server.asked) == 4


def breaks_off(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(ZIPPED[FIRST])))
    handler.end_headers()
    handler.wfile.write(ZIPPED[FIRST][:40])


def says_nothing(handler):
    time.sleep(0.6)


def never_ends(handler):
    handler.send_response(200)
    handler.end_headers()
    try:
        for _ in range(1000):
            handler.wfile.write(b"\x1f\x8b" * 5000)
    except OSError:
        pass  # the other side has hung up, as it should


FAULTS = {
    "an HTML page": ((200, {}, b"<html>Welcome to the hotel's network</html>"), "begins with b'<html>"),
    "an error": ((404, {}, b"<html>not found</html>"), "404"),
    "half a zipped file": ((200, {}, ZIPPED[FIRST][:60]), "ended before"),
    "a broken connection": (breaks_off, "40 bytes read"),
    "the wrong content": ((200, {}, gzip.compress(PLAIN[FIRST][:-1] + b"\0")), "SHA-256"),
    "a short file": ((200, {}, gzip.compress(PLAIN[FIRST][:-1])), "shorter than its header"),
    "a bomb": ((200, {}, gzip.compress(PLAIN[FIRST] + b"\0" * 2_000_000)), "longer than its header"),
    "no answer": (says_nothing, "timed out"),
    "no end": (never_ends, "it sends more than"),
}


@pytest.mark.parametrize(("answer", "reason"), FAULTS.values(), ids=FAULTS.keys())
def test_a_host_at_fault_is_passed_over(answer, reason, server, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", (0.3, 0.3))
    faulty = serve(server, "a", first=answer)
    with pytest.raises(FileNotFoundError, match=rf"/a/{FIRST}\.gz: .*{reason}"):
        fetch(archive(faulty))
    assert not cache_folder(archive()).exists()  # nothing unchecked is ever kept

    assert is_right(fetch(archive(faulty, serve(server, "b"))))
    assert server.asked.count(f"/b/{FIRST}.gz") == 1
    assert (cache_folder(archive()) / FIRST).read_bytes() == PLAIN[FIRST]


def test_a_server_that_unzips_underway_is_fine(server):
    underway = (200, {"Content-Encoding": "gzip"}, ZIPPED[FIRST])
    assert is_right(fetch(archive(serve(server, "a", first=underway))))


def test_a_damaged_cache_is_mended_by_a_download(server):
    tiny = archive(serve(server, "a"))
    put(cache_folder(tiny), first=b"damaged")
    assert is_right(fetch(tiny))
    assert (cache_folder(tiny) / FIRST).read_bytes() == PLAIN[FIRST]
    assert server.asked == [f"/a/{FIRST}.gz"]


def test_a_cache_that_cannot_be_written_loses_no_download(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("where a folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match=r"-ubyte was downloaded, but not kept.*Set \$XDG_CACHE_HOME") as warned:
        assert is_right(fetch(archive(serve(server, "a"))))
    assert len(warned) == 4


def test_an_interrupted_write_leaves_nothing_behind(server, monkeypatch):
    def interrupt(source, target):
        assert Path(source).parent == Path(target).parent  # a rename is whole only within one file system
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch(archive(serve(server, "a")))
    assert list(cache_folder(archive()).iterdir()) == []


def test_without_any_source_the_error_says_what_to_put_where(home, monkeypatch):
    monkeypatch.setenv("VUGRAD_DATA", str(home / "named"))
    nobody = "http://127.0.0.1:1/"  # nothing listens on port 1
    with pytest.raises(FileNotFoundError) as caught:
        fetch(archive(nobody))
    message = str(caught.value)
    assert f"tiny: there is no good copy of {FIRST}" in message
    for place in (home / "named" / "tiny", cache_folder(archive()), "data/Tiny/raw", home / ".keras/datasets/tiny.npz"):
        assert f"\n  {place}: not there\n" in message
    assert f"\n  {nobody}{FIRST}.gz: " in message
    assert f"into {cache_folder(archive())}, or" in message
    assert all(f"\n  {file.name}\n" in message for file in FILES)


@pytest.mark.parametrize("package", ["pooch", "tqdm"])
def test_without_the_packages_that_download(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"takes the package {package}: pip install 'vugrad\[lab\]'.*VUGRAD_DATA"):
        fetch(archive("http://127.0.0.1:1/"))


# The tables


@pytest.mark.parametrize("table", [MNIST, FASHION])
def test_the_tables_are_complete(table):
    assert [file.size for file in table.files] == [47_040_016, 60_008, 7_840_016, 10_008]
    assert len({file.sha256 for file in table.files}) == 4
    assert all(len(bytes.fromhex(file.sha256)) == 32 for file in table.files)
    assert len(table.hosts) == 2
    assert all(host.endswith("/") for host in table.hosts)
