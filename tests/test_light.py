"""Commands and records that people wait for do not wait for torch."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

COMMANDS = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["scripts"]
HEAVY = ("torch", "torchvision", "torchmetrics", "pytorch_lightning", "timm", "albumentations")

# An import of a heavy package fails, wherever it stands.
_BLOCKED = f"""
import sys
for name in {HEAVY}:
    sys.modules[name] = None
"""


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", _BLOCKED + code, *arguments], capture_output=True, text=True)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_needs_no_torch(command: str) -> None:
    module, function = COMMANDS[command].split(":")
    shown = run(f"from {module} import {function}\n{function}()", "--help")
    assert shown.returncode == 0, shown.stderr
    assert command in shown.stdout


@pytest.mark.parametrize(
    "module", ["config.compose", "sweep.expansion", "sweep.launching", "tools.data_check.inspection"]
)
def test_processes_that_only_read_or_wait_need_no_torch(module: str) -> None:
    imported = run(f"import ocnet_pl.{module}")
    assert imported.returncode == 0, imported.stderr


def test_windows_is_refused_in_one_line() -> None:
    shown = run("sys.platform = 'win32'\nimport ocnet_pl.command.train")
    assert shown.returncode == 2
    assert shown.stderr.count("\n") == 1
    assert "WSL" in shown.stderr
