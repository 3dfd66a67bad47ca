"""Progress of a training: loss, learning rate, images per second, remaining time."""

import sys
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import TQDMProgressBar
from pytorch_lightning.callbacks.progress.tqdm_progress import Tqdm

_LINES = 20
"""Lines of a training that is not watched on a terminal."""

_STEPS_ON_GPU = 10
"""Fewest steps between two updates of the bar on a GPU."""


class TrainingProgress(TQDMProgressBar):
    """Counts optimizer batches over the whole training, also after a resume.

    On a terminal it is a bar. Elsewhere, e.g. in `console.log`, it is about twenty lines of plain text.

    Args:
        batch_size: images per step, over all processes.
        max_steps: steps of the training.
    """

    # The rate of batches would depend on their accumulation: images per second are in the postfix.
    BAR_FORMAT = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"

    def __init__(self, batch_size: int, max_steps: int) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.max_steps = max_steps
        if not sys.stderr.isatty():
            self.disable()
        self._started = (0.0, 0)
        self._printed = 0

    def init_train_tqdm(self) -> Tqdm:
        return _Bar(
            desc=self.train_description,
            position=2 * self.process_position,
            disable=self.is_disabled,
            leave=True,
            dynamic_ncols=True,
            file=sys.stderr,
            bar_format=self.BAR_FORMAT,
        )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        if pl_module.device.type != "cpu":  # the printed loss waits for the device
            self._refresh_rate = max(_STEPS_ON_GPU, self._refresh_rate)  # private: fixed before the device is known
        self._started = (time.monotonic(), trainer.global_step)
        self._printed = trainer.global_step
        self._count_from_here(trainer)  # on a resume within the epoch Lightning starts no epoch

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self._count_from_here(trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *arguments: Any) -> None:
        super().on_train_batch_end(trainer, pl_module, *arguments)
        step, every = trainer.global_step, max(1, self.max_steps // _LINES)
        due = step % every == 0 or step == self.max_steps
        if self.is_enabled or not trainer.is_global_zero or step == self._printed or not due:
            return
        self._printed = step
        start, first_step = self._started
        elapsed = time.monotonic() - start
        left = elapsed / max(step - first_step, 1) * (self.max_steps - step)
        times = f"{Tqdm.format_interval(elapsed)}, {Tqdm.format_interval(left)} left"
        words = _words(self.get_metrics(trainer, pl_module))
        print(f"train: {step} of {self.max_steps} steps, {', '.join(filter(None, (times, words)))}", file=sys.stderr)

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        start, first_step = self._started
        rate = (trainer.global_step - first_step) * self.batch_size / max(time.monotonic() - start, 1e-9)
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        if trainer.optimizers and (learning_rate := trainer.optimizers[0].param_groups[0]["lr"]):  # 0 at the end
            metrics["lr"] = f"{learning_rate:.2g}"
        return metrics | {"img/s": f"{rate:.1f}"}

    def _count_from_here(self, trainer: pl.Trainer) -> None:
        done = trainer.global_step * trainer.accumulate_grad_batches
        self.train_progress_bar.reset(total=trainer.max_steps * trainer.accumulate_grad_batches)
        self.train_progress_bar.initial = self.train_progress_bar.n = done
        self.train_progress_bar.set_description("train")


class _Bar(Tqdm):
    """Bar whose metrics read as `loss 0.53, lr 0.01, 85.3 img/s`."""

    def set_postfix(self, ordered_dict: Any = None, refresh: Any = True, **more: Any) -> None:
        self.set_postfix_str(_words((ordered_dict or {}) | more), refresh)


def _words(metrics: dict[str, Any]) -> str:
    words = {name: value if isinstance(value, str) else f"{value:.3g}" for name, value in metrics.items()}
    rate = words.pop("img/s", None)
    return ", ".join([*(f"{name} {value}" for name, value in words.items()), *([f"{rate} img/s"] if rate else [])])
