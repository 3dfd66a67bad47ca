"""A run, mirrored to wandb: its curves as they come, its result when it is there, its end as it was."""

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
from ocnet_pl.tools.wandb.account import logged_in
from ocnet_pl.tools.wandb.content import STEP, confusion_charts, final_numbers, samples

if TYPE_CHECKING:
    from wandb import Run

_PATIENCE = 15
"""Seconds that a run waits for the server: less than a launcher waits for a run that it asked to stop."""


class WandbMirror(Logger):
    """Shows one run on wandb, offline where there is no API key. A context manager around the run, which tells its end.

    Nothing that wandb does reaches the run: whatever fails is said in one line, and the run goes on. Where the server
    does not answer, it goes on offline. Process 0 alone does anything.

    Args:
        save_dir: the run's own directory; wandb's files go to `wandb/` in it, and the result is read from it.
        project: on wandb.
        entity: user or team; None for wandb's default.
        group: of runs that differ in the seed only.
        name: of the run.
        tags: of the run, at most 64 characters each.
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
        self._project = project
        self._about: dict[str, Any] = {"entity": entity, "group": group, "name": name, "tags": list(tags)}
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
        """The project."""
        return self._project

    @property
    def version(self) -> str:
        """The run's id on wandb: the same for every start of a run, so that its page goes on where it broke off."""
        return config_hash(self._config)  # of table, row and seed too

    @property
    def save_dir(self) -> str:
        """The run's own directory."""
        return str(self._directory.path)

    @property
    def experiment(self) -> "Run | None":
        """Lightning asks for it when a training begins: wandb's run starts here, once, in process 0."""
        self._show(lambda run: None)
        return self._run

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *arguments: Any, **more: Any) -> None:
        self._config = dict(params) if isinstance(params, Mapping) else vars(params)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        # Not wandb's own step: 'wandb sync' moves that when it joins the offline folders of a resumed run.
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
        """The one way to wandb."""
        if self._lost:
            return
        try:
            if self._run is None:
                self._run = self._start()
            call(self._run)
        except Exception as error:
            self._lost = self._run is None
            if not self._complained:
                what = " ".join(str(error).split()) or type(error).__name__
                print(f"wandb: {what}; the run goes on", file=sys.stderr, flush=True)
            self._complained = True

    def _start(self) -> "Run":
        import wandb

        try:
            run = self._begin(offline=wandb.setup().settings.mode == "online" and not logged_in())
        except wandb.Error:  # the server is not there, or not ours
            wandb.teardown()  # the service still holds the id
            run = self._begin(offline=True)
        run.define_metric("*", step_metric=STEP, step_sync=True)
        where = f"offline; 'wandb sync {self.save_dir}/wandb' uploads it" if run.offline else run.url
        print(f"wandb: {where}", flush=True)
        return run

    def _begin(self, *, offline: bool) -> "Run":
        import wandb

        return wandb.init(
            project=self._project,
            id=self.version,
            dir=self.save_dir,
            config=self._config,
            job_type="train",
            resume="allow",
            reinit="create_new",  # never somebody else's run that is still open in this process
            mode="offline" if offline else None,
            settings=wandb.Settings(
                silent=True,
                console="off",
                init_timeout=_PATIENCE,
                finish_timeout=_PATIENCE,
                # The page's stop button; by default it interrupts the training in the middle of a step.
                stop_fn=lambda: os.kill(os.getpid(), signal.SIGTERM),
            ),
            **self._about,
        )


def _exit_code(error: BaseException | None) -> int:
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    return 0 if error is None else 1
