"""``vugrad tune``: a search for the settings with the best validation accuracy, by Optuna (extra ``tune``)."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from vugrad.compiler.machine.threads import allowed
from vugrad.files import check_writable
from vugrad.lab.live import INTERRUPTED, lines
from vugrad.lab.record import Records, Run
from vugrad.lab.runner import execute
from vugrad.lab.study import SETTINGS, Study, options
from vugrad.lab.verdicts import accuracy
from vugrad.train import Callback
from vugrad.train.callbacks import Run as Training
from vugrad.train.recipe import Recipe

if TYPE_CHECKING:
    from optuna import Trial

#: Trials that are not judged against others yet, and the best that are shown.
FIRST, SHOWN = 4, 5


def tune(console: Console, study: Study, trials: int, out: Path) -> None:
    """Bring a search to so many trials in all, going on with one that is in the folder, and print the best.

    Args:
        console: where it is shown.
        study: its axes are what is chosen from, and its ``search`` the ranges; a trial is a run with each of its seeds.
        trials: those that were made before count.
        out: has the trials, and the records that :func:`reproduce` would make of the same runs.

    Raises ``ImportError`` without Optuna, ``ValueError`` for a study in which there is nothing to choose, or nothing
    to choose by.
    """
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise ImportError("vugrad tune needs the package optuna: pip install 'vugrad[tune]'") from error
    if trials < 1:
        raise ValueError(f"--trials {trials}: there must be at least 1")
    if not study.vary and not study.search:
        raise ValueError(f"study {study.name} varies nothing: give it an axis under [vary] or a range under [search]")
    if study.base.final:
        raise ValueError(f"study {study.name} trains on the validation images too, and has nothing to choose by")
    check_writable(out.absolute() / "trials.log")
    records = Records(out / "records")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = repr((study.base, study.vary, study.search, tuple(study.seeds)))
    try:
        search = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(out / "trials.log"))),
            study_name=f"{study.name}-{hashlib.sha256(space.encode()).hexdigest()[:8]}",
            load_if_exists=True,
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=FIRST, n_warmup_steps=1),
        )
    except (ValueError, KeyError) as error:
        raise ValueError(f"{out / 'trials.log'} holds no trials that can be read ({error}): remove it") from error
    ended = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    made = len(search.get_trials(deepcopy=False, states=ended))
    search.sampler = optuna.samplers.TPESampler(seed=made)  # which draws on where a search before has ended

    def objective(trial: Trial) -> float:
        recipe = _recipe(study, trial.suggest_categorical, trial.suggest_int, trial.suggest_float)
        found = []
        for i, seed in enumerate(study.seeds):
            teller = _Teller(trial, i * recipe.epochs)
            found.append(max(0.0, accuracy(execute(Run(recipe, seed), records, allowed(), [teller]))))
        return sum(found) / len(found)

    so_far = f"{made} of {trials} trials"
    status = console.status(so_far)

    def tell(search: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        nonlocal so_far
        done = len(search.get_trials(deepcopy=False, states=ended))
        so_far = f"{done} of {trials} trials, the best {search.best_value:.2f} %"
        status.update(so_far)

    try:
        with status if console.is_terminal else lines(lambda: console.print(so_far)):
            search.optimize(objective, n_trials=max(0, trials - made), callbacks=[tell])
    except KeyboardInterrupt:
        console.print(f"\nInterrupted: {so_far}. They are kept in {out}; the same command makes the others.")
        raise SystemExit(INTERRUPTED) from None
    complete = search.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    pruned = len(search.get_trials(deepcopy=False, states=(optuna.trial.TrialState.PRUNED,)))
    ranked = sorted(complete, key=lambda trial: -(trial.value or 0.0))
    console.print(
        f"{study.name}  {study.title}: {len(complete)} trials to their end, {pruned} left early", style="bold"
    )
    console.print(_table(study, ranked[:SHOWN]))
    if len(ranked) > 1 and ranked[0].value == ranked[-1].value:
        console.print(f"all {len(ranked)} have the same accuracy: none is the best")
        return
    best = ranked[0].params
    recipe = _recipe(study, lambda name, _: best[name], *[lambda name, **_: best[name]] * 2)
    console.print(f"\nthe best again: vugrad train {flags(recipe)}")


def _recipe(study: Study, category: Any, whole: Any, real: Any) -> Recipe:
    """The recipe of a choice, made by functions for each kind of it."""
    changes: dict[str, Any] = {}
    for axis, values in study.vary.items():
        labelled = dict(options(axis, values))
        changes |= labelled[category(axis, list(labelled))]
    for setting, bounds in study.search.items():
        number = whole if SETTINGS[setting].type == "int" else real
        changes[setting] = number(setting, **bounds)
    return replace(study.base, **changes)


class _Teller(Callback):
    """Says how good a run is after each epoch, and leaves it, with its checkpoint, if it is worse than most."""

    def __init__(self, trial: Trial, before: int) -> None:
        self.trial, self.before = trial, before

    def on_train_begin(self, run: Training) -> None:
        """Say it of the epochs that the run has behind it."""
        for epoch in run.history:
            self._report(epoch.epoch, epoch.validation_accuracy)

    def on_epoch_end(self, run: Training) -> None:
        """Say it of this epoch."""
        import optuna

        self._report(run.epoch, run.history.epochs[-1].validation_accuracy)
        if run.epoch < run.epochs and self.trial.should_prune():
            raise optuna.TrialPruned

    def _report(self, epoch: int, accuracy: float | None) -> None:
        self.trial.report(100 * (accuracy or 0.0), self.before + epoch)


def _table(study: Study, best: list[Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("validation %", justify="right")
    for name in (*study.vary, *study.search):
        table.add_column(name)
    for trial in best:
        table.add_row(f"{trial.value:.2f}", *(_text(trial.params[name]) for name in (*study.vary, *study.search)))
    return table


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def flags(recipe: Recipe) -> str:
    """The flags by which ``vugrad train`` trains so.

    >>> flags(Recipe(model="mlp", hidden=(32, 16), lr=0.1, shuffle=False, batch_norm=True))
    '--model mlp --hidden 32,16 --batch-norm --lr 0.1 --no-shuffle'
    """
    found = []
    for name, value in recipe.changes().items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            found.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            found.append(f"--{flag} {','.join(map(str, value)) if isinstance(value, tuple) else value}")
    return " ".join(found)
