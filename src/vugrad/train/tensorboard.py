"""Training as TensorBoard shows it (extra ``tensorboard``)."""

from __future__ import annotations

from pathlib import Path

from tensorboardX import SummaryWriter

from vugrad.files import check_writable
from vugrad.train.callbacks import Callback, Run


class TensorBoard(Callback):
    """Write each epoch's figures and histograms of the weights as TensorBoard's event files.

    Args:
        folder: where; ``tensorboard --logdir FOLDER`` shows it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def on_train_begin(self, run: Run) -> None:
        """Open a file of its own for this run."""
        check_writable(self.folder.absolute() / "events")
        self._writer = SummaryWriter(str(self.folder))

    def on_epoch_end(self, run: Run) -> None:
        """Write the epoch's figures, and the weights' histograms."""
        epoch = run.history.epochs[-1]
        for name, value in (
            ("loss/train", epoch.loss),
            ("loss/validation", epoch.validation_loss),
            ("accuracy/train", epoch.accuracy),
            ("accuracy/validation", epoch.validation_accuracy),
            ("lr", epoch.lr),
            ("images_per_second", epoch.images_per_second),
        ):
            if value is not None:
                self._writer.add_scalar(name, value, epoch.epoch)
        for name, node in run.model.named_parameters():
            self._writer.add_histogram(name, node.value, epoch.epoch)
        self._writer.flush()

    def on_train_end(self, run: Run) -> None:
        """Close the file."""
        self._writer.close()
