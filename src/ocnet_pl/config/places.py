"""Directories of runs: a function of their config."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

REHEARSALS = "rehearsals"
"""Folder of rehearsals in the folder of outputs, so that none stands in the place of a run."""


def sweep_folder(outputs: str, name: str, rehearsal: bool) -> str:
    """Folder of a sweep: `<outputs>/<name>`, or `<outputs>/rehearsals/<name>`; the resolver of `conf/train.yaml`."""
    return str(Path(str(outputs), *([REHEARSALS] if rehearsal else []), str(name)))


def run_directory(config: DictConfig) -> Path:
    """Directory of the run of a config."""
    return Path(sweep_folder(config.outputs, config.name, config.rehearsal), str(config.row), f"seed-{config.seed}")


def register() -> None:
    """Make `${sweep_folder:...}` known to OmegaConf."""
    OmegaConf.register_new_resolver("sweep_folder", sweep_folder, replace=True)
