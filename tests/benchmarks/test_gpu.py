"""The report of a GPU, rehearsed on the CPU: every section runs, holds its aims and leaves nothing out."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from on_gpu.report import markdown
from on_gpu.running import run
from on_gpu.section import Finding, Scope, Section

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


@pytest.mark.slow
def test_the_rehearsal(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--rehearse", "--out", "report.md"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "report.md").read_text()
    sections = re.findall(r"^\| ([\w -]+) \| (\d+) \| (\d+) \| (\d+) \| \d+ \|$", text, re.MULTILINE)
    assert len(sections) == 9
    for title, lines, missed, left_out in sections:
        assert (int(lines) > 0, missed, left_out) == (True, "0", "0"), f"{title}\n{done.stderr}"
    assert text.startswith("# Rehearsal on the CPU")


def _findings(scope: Scope, item: str) -> Iterator[Finding]:
    if item == "fails":
        raise ValueError("a|b")
    if item == "ends":
        raise SystemExit(3)
    if item == "hangs":
        time.sleep(60)
    yield Finding((item, "1"), holds=item != "misses")


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize(("last", "reason"), [("hangs", "took longer than 2 s"), ("ends", "ended with exit code 3")])
def test_errors_and_limits_are_in_the_report(last: str, reason: str, tmp_path: Path) -> None:
    items = ("good", "fails", "misses", last, "after")
    section = Section("Some", "An aim.", ("item", "number"), 2, lambda scope: items, _findings)
    outcome = run(section, Scope(True, tmp_path), 2)
    assert outcome.failures == ["fails", "misses"]
    assert outcome.left_out == [last, "after"]
    text = markdown([outcome], command="c", date="d", rehearsal=False)
    assert f"Left out ({reason}): {last}, after." in text
    assert r"ValueError: a\|b" in text
    assert "| misses | 1 | **no** |" in text
    assert "| good | 1 | yes |" in text
