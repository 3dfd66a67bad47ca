"""`ocnet-train`: one run, or a sweep of them."""

import os
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from ocnet_pl.config import config_dir, plain, readable_config_errors
from ocnet_pl.errors import one_line_errors
from ocnet_pl.process import die_with_parent


@hydra.main(config_path=str(config_dir()), config_name="train", version_base="1.3")
def _job(config: DictConfig) -> float | None:
    with one_line_errors("ocnet-train"):
        overrides = list(HydraConfig.get().overrides.task)
        if HydraConfig.get().mode is RunMode.MULTIRUN:
            from ocnet_pl.sweep.launching import start_run

            return start_run(config, overrides)
        from ocnet_pl.run.directory import RunDirectory
        from ocnet_pl.run.training import is_process_zero, train

        run = RunDirectory(Path(HydraConfig.get().runtime.output_dir))
        if run.result.is_file():  # no process waits for the others then
            if is_process_zero():
                run.refuse_other_config(plain(config))
                print(f"{run.path}: finished before; delete it or choose another name= to train again")
            return None
        train(config, run, choices=dict(HydraConfig.get().runtime.choices), overrides=overrides)
        if is_process_zero():
            print(f"finished: {run.result}")
    return None


def main() -> None:
    """Entry point."""
    die_with_parent()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors leave Hydra as exceptions, and us as one line
    with one_line_errors("ocnet-train"), readable_config_errors(sweeps=True):
        _job()


if __name__ == "__main__":
    main()
