"""Processes that start processes: none outlives the one that started it."""

import ctypes
import os
import signal
import sys

EXIT_STOPPED = 75
"""Exit code of a run that was asked to stop and can go on: EX_TEMPFAIL of sysexits.h."""

PARENT_VARIABLE = "OCNET_PARENT"
"""Process id of the one that started this one."""


def die_with_parent() -> None:
    """Ties this process to the one of ours that started it, even when that is killed with SIGKILL (Linux).

    A launcher starts workers, a worker starts runs, a run starts its other ranks: each calls this first. A process
    that a cluster's scheduler started has no such parent and stays free.
    """
    parent, own = os.environ.get(PARENT_VARIABLE), str(os.getpid())
    os.environ[PARENT_VARIABLE] = own  # for the processes that this one starts
    if parent == str(os.getppid()) and sys.platform == "linux":
        ask_for_signal = 1  # PR_SET_PDEATHSIG of prctl(2)
        ctypes.CDLL(None).prctl(ask_for_signal, signal.SIGTERM)


def all_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
