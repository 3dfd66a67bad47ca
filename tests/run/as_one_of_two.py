"""One of two processes that train several runs together: each whole, and once more stopped at step 3 and resumed.

Run as `python as_one_of_two.py RANK PORT COMMANDS`, with a JSON file of overrides by system. Starting two processes
for each of many runs would take most of the time of the tests.
"""

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def main(rank: str, port: str, commands: dict[str, list[str]]) -> None:
    os.environ |= {
        "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "0", "TORCHELASTIC_RESTART_COUNT": "0",
    }  # fmt: skip
    from ocnet_pl.command.train import main as command
    from ocnet_pl.module import SegmentationModule

    usual, stopping = SegmentationModule.training_step, False

    def step(module: SegmentationModule, batch: Any, batch_idx: int) -> Any:
        if stopping and module.global_step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return usual(module, batch, batch_idx)

    SegmentationModule.training_step = step  # type: ignore[method-assign]

    def train(system: str, overrides: Sequence[str], name: str) -> None:
        sys.argv = ["ocnet-train", *overrides, f"name={name}"]
        try:
            command()
        except SystemExit as end:
            print(f"{system} {name}: exit code {end.code}", flush=True)

    for system, overrides in commands.items():
        train(system, overrides, "whole")
        stopping = True
        train(system, overrides, "stopped")
        stopping = False
        train(system, overrides, "stopped")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(Path(sys.argv[3]).read_text()))
