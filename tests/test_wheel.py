"""What an installed wheel can do, away from the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_wheel_carries_everything(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    conf = {f"ocnet_pl/conf/{p.relative_to(ROOT / 'conf').as_posix()}" for p in (ROOT / "conf").rglob("*.yaml")}
    assert conf <= set(names)
    assert {"ocnet_pl/py.typed", "ocnet_pl/experiments/paper.yaml", "ocnet_pl/dataset/ade20k_classes.csv"} <= set(names)
    assert not [name for name in names if name.startswith(("tests", "conf/"))]

    # The wheel's code, not the checkout's: it stands first on the path, and the command runs elsewhere.
    installed, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    zipfile.ZipFile(wheel).extractall(installed)
    elsewhere.mkdir()
    environment = os.environ | {"PYTHONPATH": str(installed)}

    def run(code: str) -> str:
        arguments = [sys.executable, "-c", code]
        done = subprocess.run(
            arguments, cwd=elsewhere, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert str(installed) in run("import ocnet_pl; print(ocnet_pl.__file__)")
    assert str(installed) in run("from ocnet_pl.config.compose import config_dir; print(config_dir())")
    assert "base_oc" in run("import ocnet_pl; print(ocnet_pl.heads())")
    assert "table1" in run("from ocnet_pl.table.paper import published; print(list(published()))")
    shown = run(
        "import sys; sys.argv = ['ocnet-train', '--cfg', 'job']\nfrom ocnet_pl.command.train import main\nmain()"
    )
    assert "max_steps: 40000" in shown
