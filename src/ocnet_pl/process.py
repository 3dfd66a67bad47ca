"""Processes: they end with their parent, and know the process group that they train in."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ocnet_pl.errors import UserError

EXIT_STOPPED = 75
"""Exit code of a run that was stopped by a signal and can resume: EX_TEMPFAIL of sysexits.h."""

PARENT_VARIABLE = "OCNET_PARENT"
"""Environment variable with the process id of the parent."""

CONF_VARIABLE = "OCNET_CONF"
"""Environment variable with folders of the user's own configuration files, separated as in `PATH`."""

START_VARIABLE = "OCNET_START"
"""Environment variable: identity of the command that started the sweep, as in `sweep.json`."""

_RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
_SLURM_RANKS = ("SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID")
GROUP_VARIABLES = (
    *_RANKS, *_SLURM_RANKS, "JSM_NAMESPACE_RANK", "MASTER_ADDR", "MASTER_PORT",
    "PL_GLOBAL_SEED", "WANDB_RUN_ID", "WANDB_SERVICE",
)  # fmt: skip
"""Variables that a process group or a cluster job leaves in the environment. A run that inherits them would join
another group, or mistake the job's single task for all of its processes."""


def die_with_parent(sign: signal.Signals = signal.SIGTERM) -> None:
    """End this process when its parent ends, even if the parent is killed with SIGKILL (Linux).

    Launchers start workers, workers start runs, and runs start their other ranks and their loaders: each calls this
    first. A process that was started by a cluster's scheduler has no such parent and stays independent.

    Args:
        sign: signal that this process receives when its parent ends.
    """
    parent, own = os.environ.get(PARENT_VARIABLE), str(os.getpid())
    os.environ[PARENT_VARIABLE] = own  # for the children of this process
    if parent == str(os.getppid()) and sys.platform == "linux":
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG of prctl(2)
        ctypes.CDLL(None).prctl(set_parent_death_signal, sign)


def stop_children(patience: float) -> None:
    """Signal the runs of this process and its workers to save and exit, wait for them, and end the workers.

    A run leads its own session, which distinguishes it from a worker; it ends its ranks and loaders itself. Without
    `/proc` nothing is signalled here: runs are signalled when their parent ends.

    Args:
        patience: maximum wait in seconds.
    """
    runs, workers = [], []
    pending = _children(os.getpid())
    while pending:
        process = pending.pop()
        try:
            if os.getsid(process) == process:
                runs.append(process)
            else:
                workers.append(process)
                pending += _children(process)
        except ProcessLookupError:
            continue
    # Stopped workers start no other run, and a pool whose worker has died would kill the runs of the others.
    _signal(workers, signal.SIGSTOP)
    _signal(runs, signal.SIGTERM)
    until = time.monotonic() + patience
    while any(map(is_alive, runs)) and time.monotonic() < until:
        time.sleep(0.1)
    _signal(workers, signal.SIGTERM)
    _signal(workers, signal.SIGCONT)


def _signal(processes: Sequence[int], sign: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, sign)


def _children(process: int) -> list[int]:
    files = Path(f"/proc/{process}/task").glob("*/children")
    with suppress(OSError):
        return [int(child) for file in files for child in file.read_text().split()]
    return []


def is_alive(process: int) -> bool:
    """Test whether a process is at work (Linux): a zombie has ended, even if nobody has waited for it."""
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    return False


def all_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def leave_stale_group(command: str) -> None:
    """Remove variables from the environment that do not describe a process group of this process, with a warning.

    Lightning and torch read these variables on import, so this comes first. A group is described completely by
    torchrun and by Lightning's own launcher (`LOCAL_RANK`, `WORLD_SIZE` above 1, and `RANK` or `NODE_RANK`) and by srun
    (`SLURM_PROCID`, `SLURM_NTASKS` above 1, in a job that is not interactive); if started by hand, the first process of
    each machine has `NODE_RANK` and `MASTER_ADDR`. Anything else was left by another tool or an interactive job.

    Args:
        command: name of the command in the warning, which is printed if a removed variable would have had an effect.
    """
    environment = os.environ
    launched = "LOCAL_RANK" in environment and _number("WORLD_SIZE") > 1 and {"RANK", "NODE_RANK"} & set(environment)
    by_hand = "LOCAL_RANK" not in environment and {"NODE_RANK", "MASTER_ADDR"} <= set(environment)
    interactive = environment.get("SLURM_JOB_NAME") in ("bash", "interactive")  # salloc, srun --pty bash
    tasks = "SLURM_PROCID" in environment and _number("SLURM_NTASKS") > 1 and not interactive
    stale = [] if launched or by_hand else [name for name in (*_RANKS, "JSM_NAMESPACE_RANK") if name in environment]
    if launched or not tasks:
        stale += [name for name in _SLURM_RANKS if name in environment]
    misleading = [f"{name}={environment[name]}" for name in stale
                  if not launched and (_number(name) > 1 if name in _SIZES else environment[name] != "0")]  # fmt: skip
    for name in stale:
        del environment[name]
    if misleading:
        print(
            f"{command}: warning: {', '.join(misleading)} in the environment: ignored, because it "
            "describes no process group of this run",
            file=sys.stderr,
            flush=True,
        )


_SIZES = ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "SLURM_NTASKS", "SLURM_NTASKS_PER_NODE")


def refuse_other_group(devices: int | str | Sequence[int], num_nodes: int) -> None:
    """Compare the process group of the environment with the number of processes that a trainer will have.

    Args:
        devices: devices of Lightning's trainer on each machine; -1 or "auto" for all GPUs.
        num_nodes: number of machines.

    Raises:
        UserError: the numbers differ, so that processes would wait for each other or train twice.
    """
    slurm = _number("SLURM_NTASKS") if "SLURM_PROCID" in os.environ else 0
    started = slurm or (_number("WORLD_SIZE") if "LOCAL_RANK" in os.environ else 0)
    if started > 1:
        wanted = _devices(devices) * num_nodes
        if started != wanted:
            what, variables = (
                ("SLURM tasks", "SLURM_NTASKS and SLURM_PROCID")
                if slurm
                else ("processes", "WORLD_SIZE and LOCAL_RANK")
            )
            raise UserError(
                f"{started} {what} were started, but devices={devices} x num_nodes={num_nodes} of the trainer is "
                f"{wanted}; set devices to the number per machine and num_nodes to the number of machines (with "
                f"trainer=ddp), or start one process; if this is the only process, unset {variables}"
            )
    elif _number("NODE_RANK") >= num_nodes:
        raise UserError(
            f"NODE_RANK={os.environ['NODE_RANK']} in the environment, but num_nodes={num_nodes} of the trainer; "
            "set num_nodes of the trainer, or unset NODE_RANK"
        )


def is_process_zero() -> bool:
    """Test whether this process writes for its process group, before the group is formed."""
    if "RANK" in os.environ:
        return _number("RANK") == 0
    return all(_number(name) == 0 for name in ("LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


def is_alone() -> bool:
    """Test whether this process has no other ones to train with, as far as the environment says."""
    return not any(name in os.environ for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


def _number(name: str) -> int:
    """Value of an environment variable; 0 if it is not a number."""
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else 0


def _devices(devices: int | str | Sequence[int]) -> int:
    if isinstance(devices, str):
        if "," in devices:
            return len(devices.split(","))
        devices = int(devices) if devices.lstrip("-").isdecimal() else -1
    if not isinstance(devices, int):
        return len(devices)
    if devices >= 0:
        return devices
    from torch import cuda  # late: `--help` must not wait for it

    return max(cuda.device_count(), 1)
