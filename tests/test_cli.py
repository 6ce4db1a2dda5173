"""The command, as a person types it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from vugrad.cli import app

COMMAND = [sys.executable, "-c", "from vugrad.cli import main; main()"]


@pytest.fixture(autouse=True)
def in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")


def invoke(*arguments):
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_train_writes_a_record_pictures_and_a_checkpoint(tmp_path):
    small = ["--data", "digits", "--hidden", "32", "--epochs", "3", "--lr", "0.01"]
    output = invoke("train", *small, "--out", "deep/out", "--json", "record.json")
    assert "test accuracy" in output
    record = json.loads((tmp_path / "record.json").read_text())
    assert [epoch["epoch"] for epoch in record["epochs"]] == [1, 2, 3]
    assert record["settings"]["hidden"] == [32]
    assert record["settings"]["seed"] == 0
    assert f"test accuracy {record['test']['accuracy']:.2%}" in output
    assert record["test"]["accuracy"] > 0.8
    assert record["versions"]["numpy"] == np.__version__
    assert (tmp_path / "deep/out/curves.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "deep/out/checkpoint.safetensors").stat().st_size > 1000
    again = invoke("train", *small, "--out", "deep/out")
    assert f"test accuracy {record['test']['accuracy']:.2%}" in again


def test_eager_gives_the_same():
    small = ["train", "--data", "digits", "--hidden", "16", "--epochs", "2", "--lr", "0.01", "--json"]
    invoke(*small, "native.json")
    invoke(*small, "eager.json", "--eager")
    native, eager = (json.loads(Path(name).read_text()) for name in ("native.json", "eager.json"))
    assert native["test"]["loss"] == pytest.approx(eager["test"]["loss"], rel=1e-4)
    for a, b in zip(native["epochs"], eager["epochs"], strict=True):
        assert (a["accuracy"], a["lr"]) == (b["accuracy"], b["lr"])
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)


def test_synth_draws_the_boundary(tmp_path):
    invoke("train", "--data", "synth", "--epochs", "1", "--batch-size", "2000", "--out", "s")
    assert (tmp_path / "s/boundary.png").stat().st_size > 5000


def test_every_flag_of_the_studies():
    output = invoke(
        *("train", "--data", "digits", "--pixels", "raw", "--final", "--no-shuffle", "--model", "mlp"),
        *("--hidden", "16,16", "--activation", "sigmoid", "--batch-norm", "--residual", "--dropout", "0.1"),
        *("--init", "normal", "--loss", "hinge", "--reduction", "sum", "--optimizer", "sgd", "--lr", "0.001"),
        *("--momentum", "0.9", "--weight-decay", "0.0001", "--schedule", "onecycle", "--clip-norm", "5"),
        *("--batch-size", "128", "--epochs", "2", "--seed", "3", "--out", "o"),
    )
    assert "1,547 train, 250 test" in output  # --final: nothing is held out for validation
    assert "SGD, lr 0.001, batch 128, seed 3" in output


def test_a_recipe_is_a_name_for_flags():
    digits = ("--data", "digits", "--no-final", "--model", "mlp", "--shift", "0", "--epochs", "1", "--batch-size", "64")
    output = invoke("train", "--recipe", "fast99", *digits, "--json", "r.json")
    assert "SGD, lr 0.1, batch 64" in output  # what the flags do not say is the recipe's
    settings = json.loads(Path("r.json").read_text())["settings"]
    assert (settings["nesterov"], settings["momentum"], settings["schedule"]) == (True, 0.9, "onecycle")


def test_images_are_shifted_while_training():
    output = invoke("train", "--model", "strided", "--shift", "1", "--epochs", "1", "--out", "o")
    assert "RandomShift" in output
    assert "StridedCNN" in output


def test_patience_stops_early():
    arguments = ("--hidden", "4", "--lr", "1e-9", "--epochs", "30", "--patience", "2", "--batch-size", "500")
    assert "no better validation_accuracy" in invoke("train", "--data", "digits", *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "minst5k"], "did you mean 'mnist5k'"),
        (["--pixels", "grey"], "no pixel scale 'grey'"),
        (["--data", "digits", "--model", "cnn"], "too small"),
        (["--data", "digits", "--optimizer", "adamm"], "did you mean 'adam'"),
        (["--data", "digits", "--loss", "cross-entropy"], "did you mean 'cross_entropy'"),
        (["--data", "digits", "--schedule", "cosin"], "did you mean 'cosine'"),
        (["--data", "digits", "--hidden", "12,x"], "--hidden takes whole numbers"),
        (["--data", "digits", "--lr", "-1"], "lr"),
        (["--recipe", "fast98"], "did you mean 'fast99'"),
        (["--data", "synth", "--shift", "1"], "shift moves images"),
        (["--data", "digits", "--nesterov", "--optimizer", "adam"], "nesterov is for sgd"),
        (["--data", "synth", "--model", "strided"], "takes images"),
        (["--data", "digits", "--batch-size", "0"], "batch_size"),
        (["--data", "digits", "--epochs", "0"], "epochs"),
        (["--data", "digits", "--out", "file/out"], "cannot write to the folder"),
        (["--data", "digits", "--json", "file/x/r.json"], "cannot write to the folder"),
    ],
)
def test_bad_flags_are_one_clear_line_before_any_training(arguments, message, tmp_path, command):
    (tmp_path / "file").write_text("in the way")
    result = command("train", *arguments)
    assert result.returncode == 2
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert "epoch" not in result.stdout


def test_a_run_is_resumed_with_its_own_settings(tmp_path, command):
    small = ["train", "--data", "digits", "--hidden", "16", "--lr", "0.01", "--seed", "3", "--patience", "5"]
    small += ["--schedule", "constant"]
    invoke(*small, "--epochs", "4", "--json", "whole.json", "--out", "whole")
    assert "there is no run in parts to go on with" in invoke(*small, "--epochs", "2", "--out", "parts", "--resume")
    resume = ["train", "--out", "parts", "--resume"]
    assert "goes on after epoch 2" in invoke(*resume, "--epochs", "4", "--json", "parts.json")
    whole, parts = (json.loads(Path(name).read_text()) for name in ("whole.json", "parts.json"))
    assert (parts["settings"], parts["test"]) == (whole["settings"], whole["test"])
    figures = [[(epoch["loss"], epoch["lr"]) for epoch in record["epochs"]] for record in (whole, parts)]
    assert figures[0] == figures[1]
    result = command(*resume, "--lr", "0.02", "--seed", "4")
    assert result.returncode == 2
    assert "lr was 0.01, and is 0.02 now" in result.stderr
    assert "seed was 3, and is 4 now" in result.stderr
    Path("parts/checkpoint.safetensors").write_bytes(Path("whole/checkpoint.safetensors").read_bytes()[:-9])
    result = command(*resume)
    assert result.returncode == 2
    assert "not a whole" in result.stderr


def test_ctrl_c_saves_what_there_is(tmp_path):
    arguments = ("train", "--data", "digits", "--hidden", "64", "--epochs", "2000", "--batch-size", "16")
    process = subprocess.Popen(
        [*COMMAND, *arguments, "--json", "r.json"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    for line in process.stdout:
        if line.split()[:1] == ["epoch"] and line.split()[1].startswith("2/"):
            process.send_signal(signal.SIGINT)
            break
    rest = process.communicate(timeout=60)[0]
    assert process.returncode == 130
    assert "interrupted in epoch" in rest
    assert "is saved in" in rest
    assert "Traceback" not in rest
    record = json.loads((tmp_path / "r.json").read_text())
    assert record["stopped"].startswith("interrupted")
    assert len(record["epochs"]) >= 2


def test_info_names_versions_and_data():
    output = invoke("info")
    for word in ("numpy", "llvmlite", "cores", "mnist5k", "fashion"):
        assert word in output


def test_help_lists_the_commands():
    output = invoke("--help")
    assert "train" in output
    assert "info" in output
