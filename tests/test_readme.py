"""The README's Python runs as it is printed."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from ocnet_pl.dataset.demo import draw_tree

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_its_first_example_runs_on_the_demo(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw_tree(Path("data/demo"), (64, 128), {"val": 1}, seed=0)
    shutil.copytree(runs, "outputs/demo")
    example = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert example
    names: dict[str, Any] = {}
    exec(example[1], names)
    assert names["maps"][0, 0].sum() == pytest.approx(1, abs=1e-4)
