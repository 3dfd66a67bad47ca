"""Which processes train one run together, read from what launchers leave in the environment."""

import os

import pytest

from ocnet_pl.errors import UserError
from ocnet_pl.process import GROUP_VARIABLES, is_process_zero, leave_stale_group, refuse_other_group

TORCHRUN = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}
LIGHTNING = {"LOCAL_RANK": "1", "NODE_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}
SRUN = {"SLURM_PROCID": "1", "SLURM_LOCALID": "1", "SLURM_NODEID": "0", "SLURM_NTASKS": "2", "SLURM_JOB_NAME": "train"}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*GROUP_VARIABLES, "SLURM_JOB_NAME"):
        monkeypatch.setenv(name, "")  # so that it is put back where the code removes it
        monkeypatch.delenv(name)


def describe(monkeypatch: pytest.MonkeyPatch, **environment: str) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def left() -> set[str]:
    return set(GROUP_VARIABLES) & set(os.environ)


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"LOCAL_RANK": "1"}, "LOCAL_RANK=1"),
        ({"RANK": "3"}, "RANK=3"),
        ({"NODE_RANK": "1"}, "NODE_RANK=1"),
        ({"WORLD_SIZE": "4"}, "WORLD_SIZE=4"),
        ({"RANK": "1", "LOCAL_RANK": "1"}, "LOCAL_RANK=1"),
        ({"LOCAL_RANK": "1", "WORLD_SIZE": "1", "RANK": "1"}, "LOCAL_RANK=1"),
        ({"JSM_NAMESPACE_RANK": "2"}, "JSM_NAMESPACE_RANK=2"),
        ({"SLURM_NTASKS": "4"}, "SLURM_NTASKS=4"),
        ({"SLURM_PROCID": "1"}, "SLURM_PROCID=1"),
        (SRUN | {"SLURM_PROCID": "0", "SLURM_JOB_NAME": "interactive"}, "SLURM_NTASKS=2"),
        (SRUN | {"SLURM_PROCID": "0", "SLURM_JOB_NAME": "bash"}, "SLURM_NTASKS=2"),
        ({"LOCAL_RANK": "0", "RANK": "0"}, ""),
        ({"SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}, ""),
        ({}, ""),
    ],
)
def test_what_another_tool_left_is_removed(
    environment: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    describe(monkeypatch, **environment)
    leave_stale_group("ocnet-train")
    warning = capsys.readouterr().err
    assert named in warning
    assert warning.count("\n") == bool(named)
    assert not left()
    assert is_process_zero()
    refuse_other_group(2, 1)


@pytest.mark.parametrize("environment", [TORCHRUN, LIGHTNING, SRUN, {"NODE_RANK": "1", "MASTER_ADDR": "node0"}])
def test_a_real_group_stays(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    describe(monkeypatch, **environment)
    leave_stale_group("ocnet-train")
    assert not capsys.readouterr().err
    assert left() == set(environment) - {"SLURM_JOB_NAME"}
    assert not is_process_zero()
    refuse_other_group(1, 2)
    if "NODE_RANK" not in environment or "LOCAL_RANK" in environment:
        refuse_other_group(2, 1)


def test_torchrun_inside_a_slurm_job_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """One SLURM task on each machine, and torchrun below it."""
    describe(monkeypatch, **SRUN, **TORCHRUN | {"RANK": "4", "LOCAL_RANK": "0", "WORLD_SIZE": "8", "GROUP_RANK": "1"})
    leave_stale_group("ocnet-train")
    assert not any(name.startswith("SLURM_NTASKS") for name in left())
    assert not is_process_zero(), "the first process of the second machine"
    refuse_other_group(4, 2)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (SRUN, "2 SLURM tasks"),
        (SRUN | {"SLURM_PROCID": "0"}, "2 SLURM tasks"),
        (TORCHRUN, "2 processes"),
        (LIGHTNING | {"WORLD_SIZE": "3"}, "3 processes"),
        ({"NODE_RANK": "1", "MASTER_ADDR": "node0"}, "NODE_RANK=1"),
    ],
)
@pytest.mark.parametrize("devices", [1, "1", [3]])
def test_more_processes_than_the_trainer_has_are_refused(
    environment: dict[str, str], words: str, devices: int | str | list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    describe(monkeypatch, **environment)
    leave_stale_group("ocnet-train")
    with pytest.raises(UserError, match=words):
        refuse_other_group(devices, 1)


@pytest.mark.parametrize("devices", [2, "2", "0,3", [0, 1]])
def test_devices_are_counted_as_lightning_counts_them(
    devices: int | str | list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    describe(monkeypatch, **SRUN)
    refuse_other_group(devices, 1)
