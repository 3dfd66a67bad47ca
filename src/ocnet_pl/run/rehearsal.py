"""Rehearsal of a run: everything that it does, with a few steps and images.

The config stays that of the run, so that data, network, batch and learning rate are the same; only the Trainer is
limited. The result lists what is missing, and is in no table.
"""

from typing import Any

from omegaconf import DictConfig

STEPS = 4
EVERY = 2
"""Steps between two validations, and two checkpoints."""
BATCHES = 2
"""Batches of every validation and test, in each process."""


def trainer_limits(config: DictConfig) -> dict[str, Any]:
    """Arguments of the Trainer of a rehearsal."""
    return {
        "max_steps": min(STEPS, config.schedule.max_steps),
        "val_check_interval": EVERY * config.trainer.accumulate_grad_batches,
        "limit_val_batches": BATCHES,
        "limit_test_batches": BATCHES,
        "log_every_n_steps": 1,
    }
