"""The notebooks run from top to bottom on runs of seconds, and are committed as a run left them."""

import re
import runpy
from pathlib import Path

import nbformat
import pytest
from conftest import TINY

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
NAMES = ("inspect_checkpoint", "compare_heads")
EXECUTE = NOTEBOOKS / "execute.py"
MOST_LINES = 12
"""Of code in a cell: more belongs into the library."""


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts(notebook: nbformat.NotebookNode) -> str:
    """All outputs that are not pictures."""
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    parts = [text for output in outputs for kind, text in output.get("data", {}).items() if kind.startswith("text/")]
    return "\n".join([*parts, *(output.text for output in outputs if output.output_type == "stream")])


def pictures(notebook: nbformat.NotebookNode) -> int:
    return sum("image/png" in output.get("data", {}) for cell in code_cells(notebook) for output in cell.outputs)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two heads, two seeds."""
    from ocnet_pl.config.compose import compose_with_choices
    from ocnet_pl.record.directory import RunDirectory
    from ocnet_pl.run.training import train

    folder = tmp_path_factory.mktemp("notebooks")
    for head in ("baseline", "base_oc"):
        for seed in (0, 1):
            overrides = (*TINY, f"model/head={head}", f"seed={seed}", f"dataset.root={folder}/data", "name=small")
            config, choices = compose_with_choices(*overrides)
            train(config, RunDirectory(folder / "small" / head / f"seed-{seed}"), choices, list(overrides))
    return folder / "small"


@pytest.fixture
def run(sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Executes a notebook on the small sweep."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("OCNET_SWEEP", str(sweep))
    monkeypatch.setenv("OCNET_CHECKPOINT", str(sweep / "base_oc" / "seed-0" / "checkpoints" / "last.ckpt"))

    def execute(name: str) -> nbformat.NotebookNode:
        before = {path: path.read_bytes() for path in sweep.rglob("*") if path.is_file()}
        notebook: nbformat.NotebookNode = runpy.run_path(str(EXECUTE))["execute"](NOTEBOOKS / f"{name}.ipynb")
        assert {path: path.read_bytes() for path in sweep.rglob("*") if path.is_file()} == before
        return notebook

    return execute


@pytest.mark.slow
def test_a_checkpoint_is_inspected(run) -> None:
    notebook = run("inspect_checkpoint")
    assert pictures(notebook) == 3
    assert "last/val/whole" in texts(notebook)
    shares = [float(share) for share in re.findall(r"(\S+)% of the weight", texts(notebook))]
    assert sum(shares) == pytest.approx(100, abs=0.1 * len(shares))


@pytest.mark.slow
def test_a_head_without_attention_is_inspected_too(
    sweep: Path, monkeypatch: pytest.MonkeyPatch, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OCNET_CHECKPOINT", str(sweep / "baseline" / "seed-0" / "checkpoints" / "last.ckpt"))
    cells = code_cells(nbformat.read(NOTEBOOKS / "inspect_checkpoint.ipynb", as_version=4))
    lines = [line for cell in cells for line in cell.source.splitlines() if not line.startswith("%")]
    exec("\n".join(lines), {"display": pytest.fail})  # in this process, because a kernel imports torch for 10 s
    assert capsys.readouterr().out.count("no attention map") == 2


@pytest.mark.slow
def test_heads_are_compared(run) -> None:
    notebook = run("compare_heads")
    assert pictures(notebook) == 5
    assert re.search(r"\| Baseline \|.*\| 2 \|", texts(notebook))
    assert re.search("(Baseline and Base-OC|Base-OC and Baseline), seed 0", texts(notebook))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_committed_as_a_run_left_it(name: str) -> None:
    path = NOTEBOOKS / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "make notebooks"
    kinds = {(output.output_type, output.get("name")) for cell in cells for output in cell.outputs}
    assert not kinds & {("error", None), ("stream", "stderr")}
    assert pictures(notebook) >= 3
    assert path.stat().st_size < 1_000_000
    # Of whoever's machine; pictures are left out, because base64 has slashes.
    assert not re.search(r"(?<![\w.])/(work|tmp|root|home|Users|mnt|opt|var)/", texts(notebook))
    assert str(Path.home()) not in texts(notebook)


@pytest.mark.parametrize("name", NAMES)
def test_it_tells_more_than_it_computes(name: str) -> None:
    cells = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4).cells
    assert cells[0].cell_type == "markdown"
    assert "OCNET_" in cells[0].source
    assert all(cell.source.count("\n") < MOST_LINES for cell in cells if cell.cell_type == "code")
