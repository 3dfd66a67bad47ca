"""One of two processes that train several runs together, as `TRAININGS` lists them: whole, or stopped at step 3.

Run as `python as_one_of_two.py RANK TRAININGS`. Starting two processes for each of many runs would take most of the
time of the tests. Each training has a port of its own: a process that begins the next one must not meet the group of
the last one.
"""

import json
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Any


def main(rank: str, trainings: list[dict[str, Any]]) -> None:
    os.environ |= {
        "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "0", "TORCHELASTIC_RESTART_COUNT": "0",
    }  # fmt: skip
    from ocnet_pl.command.train import main as command
    from ocnet_pl.module import SegmentationModule
    from ocnet_pl.process import EXIT_STOPPED

    usual, stopping = SegmentationModule.training_step, False

    def step(module: SegmentationModule, batch: Any, batch_idx: int) -> Any:
        if stopping and module.global_step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return usual(module, batch, batch_idx)

    SegmentationModule.training_step = step  # type: ignore[method-assign]

    for training in trainings:
        sys.argv = ["ocnet-train", *training["overrides"]]
        os.environ["MASTER_PORT"] = str(training["port"])
        stopping = training["stops"]
        code = 0
        try:
            command()
        except SystemExit as end:
            code = int(end.code or 0)
        if code != (EXIT_STOPPED if stopping and rank == "0" else 0):  # only process 0 reports a stop
            sys.exit(f"{shlex.join(sys.argv)}: exit code {code}")


if __name__ == "__main__":
    main(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()))
