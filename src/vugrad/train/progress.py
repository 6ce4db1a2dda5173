"""Training as it is watched in a terminal (extra ``lab``)."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from vugrad.train.callbacks import Callback, Run
from vugrad.train.screen import joined

#: The least columns for the bar, the time left and the gaps.
BAR = 20


class ProgressBar(Callback):
    """A live bar with loss, accuracy, images/s and time left, and a line for every finished epoch."""

    every_batch = False

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()

    def on_train_begin(self, run: Run) -> None:
        """Show the bar."""
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(None, table_column=Column(ratio=1)),  # the width that the texts leave
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            expand=True,
            refresh_per_second=5,
        )
        self._instances = len(run.data.train.x)
        self._task = self._bar.add_task(
            "training", total=self._instances * run.epochs, epoch=1, epochs=run.epochs, figures=""
        )
        self._bar.start()

    def on_batch_end(self, run: Run) -> None:
        """Move the bar."""
        task = self._bar.tasks[self._task]
        parts = [f"loss {run.loss:.4f}"]
        parts += [] if run.accuracy is None else [f"acc {run.accuracy:6.2%}"]
        parts += [f"{task.speed:,.0f} images/s"] if task.speed else []
        room = self.console.width - len(f"epoch {run.epochs}/{run.epochs}") - BAR
        while len(figures := "  ".join(parts)) > room and len(parts) > 1:
            parts.pop()
        done = (run.epoch - 1) * self._instances + run.seen
        self._bar.update(self._task, completed=done, epoch=run.epoch, figures=figures)

    def on_epoch_end(self, run: Run) -> None:
        """Print the epoch's figures."""
        epoch = run.history.epochs[-1]
        parts = [f"epoch {epoch.epoch:>{len(str(run.epochs))}}/{run.epochs}"]
        parts += [_figures("train", epoch.loss, epoch.accuracy)]
        parts += [_figures("validation", epoch.validation_loss, epoch.validation_accuracy)]
        parts += [f"{epoch.images_per_second:>7,.0f} images/s"]
        shown = [part for part in parts if part]
        line = joined(shown, self.console.width) if self.console.is_terminal else "   ".join(shown)
        self.console.print(line, highlight=False, soft_wrap=True)

    def on_train_end(self, run: Run) -> None:
        """Take the bar away, and say why training ended early if it did."""
        self._bar.stop()
        if run.history.stopped:
            self.console.print(
                f"stopped: {run.history.stopped}", style="yellow", markup=False, highlight=False, soft_wrap=True
            )


def _figures(split: str, loss: float | None, accuracy: float | None) -> str:
    if loss is None:
        return ""
    return f"{split} {loss:.4f}" + ("" if accuracy is None else f" {accuracy:7.2%}")
