"""`ocnet-train`: one run, or a sweep of them."""

import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from ocnet_pl.command.hydra_arguments import hydra_arguments
from ocnet_pl.command.parsing import safe_output
from ocnet_pl.config.compose import chosen_options, readable_config_errors, typed_overrides
from ocnet_pl.config.search_path import config_dir
from ocnet_pl.errors import UserError, one_line_errors
from ocnet_pl.process import die_with_parent, leave_stale_group
from ocnet_pl.sweep.search import readable_search_errors


@hydra.main(config_path=str(config_dir()), config_name="train", version_base="1.3")
def _job(config: DictConfig) -> float | None:
    with one_line_errors("ocnet-train"):
        settings = HydraConfig.get()
        if "sweep" not in settings.callbacks:
            raise UserError("hydra.callbacks: 'sweep', which checks runs first, is missing; remove this override")
        overrides = typed_overrides(settings)
        if settings.mode is RunMode.MULTIRUN:
            from ocnet_pl.sweep.launching import start_run

            return start_run(config, overrides)
        from ocnet_pl.run.training import train_once

        train_once(config, Path(settings.runtime.output_dir), chosen_options(settings), overrides)
    return None


def main() -> None:
    """Entry point."""
    safe_output()
    die_with_parent()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra passes exceptions on, and they end as one line
    with one_line_errors("ocnet-train"), readable_config_errors(sys.argv[1:], sweeps=True), readable_search_errors():
        sys.argv[1:] = hydra_arguments(sys.argv[1:])
        leave_stale_group("ocnet-train")
        _job()


if __name__ == "__main__":
    main()
