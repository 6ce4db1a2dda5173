"""Digits in pictures of any kind, as the network is to see them, and what it says of them."""

import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps
from typer.testing import CliRunner

import vugrad as vg
from vugrad.cli import app
from vugrad.train.handwriting import centred, read_ink
from vugrad.train.reading import reader
from vugrad.train.recipe import Recipe
from vugrad.train.trained import Trained, box_of


def seven(size=(240, 200), paper=255, ink=0):
    """A seven, thick and clear."""
    picture = Image.new("L", size, paper)
    w, h = size
    ImageDraw.Draw(picture).line([(w * 0.3, h * 0.2), (w * 0.7, h * 0.2), (w * 0.45, h * 0.8)], ink, w // 12, "curve")
    return picture


def with_alpha(ink, alpha_of_ink):
    """Strokes on a picture that is transparent around them."""
    mask = ImageOps.invert(seven()) if alpha_of_ink else seven()
    picture = Image.new("RGBA", mask.size, (ink, ink, ink, 0))
    picture.putalpha(mask)
    return picture


def turned(picture):
    """The picture as a camera that was held sideways writes it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return picture.rotate(90, expand=True), {"exif": exif}


def on_paper(picture):
    """A photograph: paper that is lighter on one side, and noise."""
    grey = np.asarray(picture, float) / 255
    light = np.linspace(0.6, 0.9, grey.shape[1]) - 0.5 * (1 - grey)
    noise = np.random.default_rng(0).normal(0, 0.02, grey.shape)
    return Image.fromarray((np.clip(light + noise, 0, 1) * 255).astype(np.uint8))


def dirty(picture):
    """With specks far from the digit."""
    picture = picture.copy()
    draw = ImageDraw.Draw(picture)
    for x, y in ((5, 5), (230, 190), (8, 180)):
        draw.ellipse([x, y, x + 3, y + 3], 60)
    return picture


def on_a_table(picture):
    """A sheet on a dark table."""
    table = Image.new("L", (picture.width + 80, picture.height + 60), 40)
    table.paste(picture, (40, 30))
    return table


def ruled(picture, frame):
    """On ruled paper, or in a frame."""
    picture = picture.copy()
    draw = ImageDraw.Draw(picture)
    if frame:
        draw.rectangle([0, 0, picture.width - 1, picture.height - 1], outline=0, width=3)
    for y in () if frame else (10, 185):
        draw.line([(0, y), (picture.width, y)], 120, 2)
    return picture


PICTURES = {
    "dark on light.png": lambda: seven(),
    "light on dark.png": lambda: seven(paper=0, ink=255),
    "faint.png": lambda: seven(paper=200, ink=150),
    "large.jpg": lambda: seven((2400, 2000)),
    "small.png": lambda: seven((60, 50)),
    "colours.jpg": lambda: ImageOps.colorize(seven(), "navy", "moccasin"),
    "palette.png": lambda: ImageOps.colorize(seven(), "yellow", "black").convert("P"),
    "bits.png": lambda: seven().convert("1"),
    "16 bits.png": lambda: Image.fromarray(np.asarray(seven(), np.uint16) * 200),
    "cmyk.jpg": lambda: seven().convert("RGB").convert("CMYK"),
    "black on nothing.png": lambda: with_alpha(0, True),
    "white on nothing.png": lambda: with_alpha(255, True),
    "grey with alpha.png": lambda: with_alpha(0, True).convert("LA"),
    "sideways.jpg": lambda: turned(seven()),
    "photograph.jpg": lambda: on_paper(seven()),
    "dirty.png": lambda: dirty(seven()),
    "on a table.jpg": lambda: on_a_table(seven()),
    "ruled.png": lambda: ruled(seven(), frame=False),
    "framed.png": lambda: ruled(seven(), frame=True),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_of_any_kind(name, tmp_path):
    made = PICTURES[name]()
    picture, options = made if isinstance(made, tuple) else (made, {})
    picture.save(tmp_path / name, **options)
    seven().save(tmp_path / "plain.png")
    image = centred(read_ink(tmp_path / name), 28, 20)
    plain = centred(read_ink(tmp_path / "plain.png"), 28, 20)
    assert image.shape == (28, 28)
    assert np.corrcoef(image.ravel(), plain.ravel())[0, 1] > 0.93


def png(width, height):
    """The beginning of a PNG that says it is so large, with nearly nothing in it."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    body = [struct.pack(">I", len(c)) + kind + c + struct.pack(">I", zlib.crc32(kind + c)) for kind, c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def content_of(picture, kind, tmp_path):
    picture.save(tmp_path / f"it.{kind}")
    return (tmp_path / f"it.{kind}").read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda _: b"", "not a picture that can be read"),
        (lambda _: b"<html>", "not a picture that can be read"),
        (lambda _: png(60_000, 60_000), "not a picture that can be read"),
        (lambda _: png(10_000, 10_000), "not a picture that can be read"),
        (lambda _: png(100, 100), "not a picture that can be read"),
        (lambda _: png(0, 9), "not a picture that can be read"),
        (lambda tmp: content_of(seven(), "gif", tmp), "not a picture that can be read"),
        (lambda tmp: content_of(seven(), "png", tmp)[:-300], "not a picture that can be read"),
        (lambda tmp: content_of(seven(), "jpg", tmp)[:-900], "not a picture that can be read"),
        (lambda tmp: content_of(Image.new("L", (30, 30), 255), "png", tmp), "nothing is drawn"),
        (lambda tmp: content_of(Image.new("L", (1, 1), 0), "png", tmp), "nothing is drawn"),
        (lambda tmp: content_of(Image.new("RGBA", (30, 30), (0, 0, 0, 0)), "png", tmp), "nothing is drawn"),
        (lambda tmp: content_of(Image.fromarray(np.zeros((9, 9), np.uint16)), "png", tmp), "nothing is drawn"),
    ],
)
def test_what_is_no_picture_of_a_digit(content, message, tmp_path):
    (tmp_path / "x.png").write_bytes(content(tmp_path))
    with pytest.raises(ValueError, match=message):
        read_ink(tmp_path / "x.png")
    with pytest.raises(FileNotFoundError, match="is a folder: give a PNG or JPEG"):
        read_ink(tmp_path)


def test_thin_strokes_are_as_thick_as_others(tmp_path):
    thick = Image.new("L", (400, 400), 255)
    for width in (24, 8, 1):
        thin = Image.new("L", (400, 400), 255)
        for picture, w in ((thick, 36), (thin, width)):
            ImageDraw.Draw(picture).line([(120, 80), (280, 80), (180, 330)], 0, w, "curve")
        thin.save(tmp_path / "thin.png")
        thick.save(tmp_path / "thick.png")
        a, b = (centred(read_ink(tmp_path / name), 28, 20) for name in ("thin.png", "thick.png"))
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.75
        assert a.sum() > 0.55 * b.sum()


def test_two_digits_are_not_read_as_one(tmp_path):
    both = Image.new("L", (480, 200), 255)
    both.paste(seven(), (0, 0))
    both.paste(seven(), (240, 0))
    both.save(tmp_path / "77.png")
    with pytest.raises(ValueError, match="more than one digit"):
        read_ink(tmp_path / "77.png")


def test_a_drawing_is_put_in_the_middle():
    ink = np.zeros((50, 50))
    ink[3:13, 5:10] = 1
    image = centred(ink, 28, 20)
    assert image.shape == (28, 28)
    rows, columns = np.nonzero(image)
    assert (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1) == (20, 10)
    assert abs(rows.mean() - 13.5) <= 1
    assert abs(columns.mean() - 13.5) <= 1
    assert not centred(np.zeros((9, 9)), 28, 20).any()
    assert centred(np.ones((1, 300)), 28, 20).any()


def test_how_large_digits_are_drawn():
    assert box_of(vg.data.load("mnist5k").train.x) == 20
    assert box_of(vg.data.load("digits", pixels="standard").train.x) == 8


# --- the command


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The folder of a network that knows most digits."""
    folder = tmp_path_factory.mktemp("model")
    CliRunner().invoke(app, ["train", "--epochs", "2", "--out", str(folder)], catch_exceptions=False)
    return folder


def test_most_digits_are_read(model, tmp_path):
    x, y = vg.data.load("mnist5k").test
    read, right = reader(model), 0
    for i in range(100):
        grey = Image.fromarray((255 * (1 - x[i, 0] if i % 2 else x[i, 0])).astype(np.uint8))
        path = tmp_path / ("x.jpg" if i % 3 else "x.png")
        grey.resize((60 + 5 * i, 70 + 5 * i), Image.Resampling.BICUBIC).save(path)
        found = read(path)
        right += found.label == y[i]
        assert found.probabilities.sum() == pytest.approx(1, abs=1e-6)
    assert right >= 88


def invoke(*arguments):
    return CliRunner().invoke(app, ["predict", *map(str, arguments)], catch_exceptions=False)


def test_the_command_prints_label_picture_and_probabilities(model, tmp_path):
    seven().save(tmp_path / "seven.png")
    result = invoke(model / "checkpoint.safetensors", tmp_path / "seven.png")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0].startswith(f"{tmp_path / 'seven.png'}: 7 (")
    assert len(lines) == 15
    assert any("@@@" in line for line in lines)
    assert sum("%" in line and line.rstrip().endswith("%") for line in lines[1:11]) == 10


@pytest.mark.parametrize(
    ("variables", "has", "has_not"),
    [
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, "@@@", "▀"),
        ({"PYTHONIOENCODING": "cp1252"}, "####", "█"),
        ({"COLUMNS": "40"}, "@@@", "…"),
        ({"COLUMNS": "20"}, "\n7 ██", "@"),
        ({"FORCE_COLOR": "1", "COLORTERM": "truecolor", "TERM": "xterm"}, "▀", "@"),
    ],
)
def test_screens_of_all_kinds(model, tmp_path, variables, has, has_not):
    seven().save(tmp_path / "7.png")
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    done = subprocess.run(
        [sys.executable, "-m", "vugrad", "predict", model, tmp_path / "7.png"],
        env={**environment, "PYTHONIOENCODING": "utf-8", "COLUMNS": "80", **variables},
        capture_output=True,
        check=True,
    )
    shown = done.stdout.decode("cp1252" if "PYTHONIOENCODING" in variables else "utf-8")
    assert has in shown
    assert has_not not in shown


def test_a_picture_that_cannot_be_read_costs_no_other(model, tmp_path):
    seven().save(tmp_path / "seven.png")
    (tmp_path / "bad.png").write_text("no picture")
    paths = [tmp_path / "bad.png", tmp_path / "seven.png", tmp_path / "none.png"]
    result = invoke(model, *paths, "--json", tmp_path / "found.json")
    assert result.exit_code == 1
    assert "seven.png: 7" in result.stdout
    found = json.loads((tmp_path / "found.json").read_text())
    assert [entry.get("label") for entry in found] == [None, 7, None]
    assert "not a picture" in found[0]["error"]
    assert "is no file" in found[2]["error"]
    alone = invoke(model, *paths, "--json", "-")
    assert json.loads(alone.stdout) == found
    assert len(found[1]["probabilities"]) == 10


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_whose_exif_is_damaged_costs_no_other(model, tmp_path, kind):
    # Text in a field of floating-point numbers (SMaxSampleValue), met with when the picture is turned.
    turned = struct.pack("<HHII", 0x112, 3, 1, 6)
    text = struct.pack("<HHI4s", 0x155, 2, 4, b"abc")
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + turned + text + bytes(4)
    seven().save(tmp_path / "bad.img", kind, exif=exif)
    seven().save(tmp_path / "good.png")
    result = invoke(model, tmp_path / "bad.img", tmp_path / "good.png", "--json", tmp_path / "out.json")
    assert result.exit_code == 1
    assert "good.png: 7" in result.stdout
    assert "bad.img is not a picture that can be read: " in result.stderr
    assert len(result.stderr.splitlines()) == 1
    found = json.loads((tmp_path / "out.json").read_text())
    assert [entry.get("label") for entry in found] == [None, 7]


def test_models_that_cannot_read(tmp_path):
    seven().save(tmp_path / "seven.png")

    def left_by(recipe, folder):
        data = recipe.build_data()
        about = Trained.on(data, recipe, 0, None).as_dict()
        net = recipe.build_model(data)
        from vugrad.train.keeping import Checkpoint

        fit = {"checkpoint": Checkpoint(folder, about=about), "progress": False, "compile": False}
        recipe.fit(net, data, recipe.build_optimizer(net), None, **fit)

    left_by(Recipe(data="synth", epochs=1, batch_size=5000), tmp_path / "synth")
    with pytest.raises(ValueError, match="trained on synth"):
        reader(tmp_path / "synth")
    vg.train.save_checkpoint(tmp_path / "own.safetensors", vg.nn.Linear(3, 2))
    with pytest.raises(ValueError, match="does not say what network"):
        reader(tmp_path / "own.safetensors")
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        reader(tmp_path)
    for loss in ("mse", "bce", "hinge"):
        left_by(Recipe(data="digits", hidden=(8,), epochs=1, loss=loss), tmp_path / loss)
        shares = reader(tmp_path / loss)(tmp_path / "seven.png").probabilities
        assert shares.sum() == pytest.approx(1, abs=1e-6)
        assert (shares >= 0).all()


def test_the_sources_of_an_error_reach_the_screen(tmp_path):
    result = CliRunner().invoke(app, ["predict", str(tmp_path), "x.png"])
    assert isinstance(result.exception, FileNotFoundError)
    assert str(Path("checkpoint.safetensors")) in str(result.exception)
