"""A Lightning logger that shows a run on wandb."""

import os
import signal
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from ocnet_pl.record.directory import RunDirectory
from ocnet_pl.record.identity import config_hash
from ocnet_pl.record.result import Result
from ocnet_pl.tools.wandb import logged_in
from ocnet_pl.tools.wandb.content import STEP, confusion_charts, final_numbers, samples

if TYPE_CHECKING:
    from wandb import Run

_PATIENCE = 15
"""Seconds to wait for the server; a launcher waits longer than this for a run to stop."""


class WandbMirror(Logger):
    """Shows a run on wandb, offline without an API key or a server. A context manager around the run.

    wandb never affects the run: the first error is reported in one line, and the run goes on. Only process 0 contacts
    wandb. (Lightning's WandbLogger joins any wandb run that is open in the process, and passes errors on.)

    Args:
        save_dir: directory of the run; wandb's files go to `wandb/` in it, and `result.json` is read from it.
        project: project on wandb.
        entity: user or team; None for wandb's default.
        group: name shared by the seeds of a row.
        name: name of the run.
        tags: tags of the run, at most 64 characters each.
    """

    def __init__(
        self,
        save_dir: str,
        *,
        project: str,
        entity: str | None = None,
        group: str | None = None,
        name: str | None = None,
        tags: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self._directory = RunDirectory(Path(save_dir))
        self._about = {"project": project, "entity": entity, "group": group, "name": name, "tags": list(tags)}
        self._config: dict[str, Any] = {}
        self._run: Run | None = None
        self._complained = self._lost = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._show_result()
        if self._run is not None:
            self._show(lambda run: run.finish(exit_code=_exit_code(error)))

    @property
    def name(self) -> str:
        """Name of the project."""
        return str(self._about["project"])

    @property
    def version(self) -> str:
        """Id of the run on wandb: the config hash, so that a resumed run continues its page."""
        return config_hash(self._config)

    @property
    def save_dir(self) -> str:
        """Directory of the run."""
        return str(self._directory.path)

    @property
    def experiment(self) -> "Run | None":
        """The wandb run; the first access starts it, in process 0. Lightning reads this when training begins."""
        self._show(lambda run: None)
        return self._run

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *arguments: Any, **more: Any) -> None:
        self._config = dict(params) if isinstance(params, Mapping) else vars(params)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        # Not wandb's own step: 'wandb sync' shifts it when it joins the offline folders of a resumed run.
        shown = {name: value for name, value in metrics.items() if name != "epoch"}
        self._show(lambda run: run.log({**shown, STEP: step}))

    @rank_zero_only
    def _show_result(self) -> None:
        result = Result.read(self._directory.result)
        self._show(lambda run: run.summary.update(final_numbers(result)))
        self._show(lambda run: run.log({**samples(result), STEP: result.steps}))
        self._show(lambda run: run.log({**confusion_charts(result), STEP: result.steps}))

    @rank_zero_only
    def _show(self, call: "Callable[[Run], object]") -> None:
        """Call wandb, and catch every error. All calls go through here."""
        if self._lost:
            return
        try:
            if self._run is None:
                self._run = self._start()
            call(self._run)
        except Exception as error:
            self._lost = self._run is None
            if not self._complained:
                reason = " ".join(str(error).split()) or type(error).__name__
                print(f"wandb: {reason}; the run goes on", file=sys.stderr, flush=True)
            self._complained = True

    def _start(self) -> "Run":
        import wandb

        try:
            run = self._begin(offline=wandb.setup().settings.mode == "online" and not logged_in())
        except wandb.Error:  # no server, or no access
            wandb.teardown()  # the service still holds the id
            run = self._begin(offline=True)
        run.define_metric("*", step_metric=STEP, step_sync=True)
        where = f"offline; 'wandb sync {self.save_dir}/wandb' uploads it" if run.offline else run.url
        print(f"wandb: {where}", flush=True)
        return run

    def _begin(self, *, offline: bool) -> "Run":
        import wandb

        return wandb.init(
            id=self.version,
            dir=self.save_dir,
            config=self._config,
            job_type="train",
            resume="allow",
            reinit="create_new",  # never a run of someone else that is still open in this process
            mode="offline" if offline else None,
            settings=wandb.Settings(
                silent=True,
                console="off",
                init_timeout=_PATIENCE,
                finish_timeout=_PATIENCE,
                # The stop button of the page; by default it interrupts the training within a step.
                stop_fn=lambda: os.kill(os.getpid(), signal.SIGTERM),
            ),
            **self._about,  # type: ignore[arg-type]
        )


def _exit_code(error: BaseException | None) -> int:
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    return 0 if error is None else 1
