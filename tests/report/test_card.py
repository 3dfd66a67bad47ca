"""Model cards: the Hub reads their metadata, and their text is what the table says."""

from pathlib import Path
from typing import Any

import pytest
from conftest import Main
from huggingface_hub import ModelCard
from results import result

from ocnet_pl.record.sealed import write_json

SCORES = {"baseline": [75, 76, 77], "asp_oc": [82, 84, 83]}


def sweep(folder: Path, **fields: Any) -> Path:
    for row, values in SCORES.items():
        for seed, value in enumerate(values):
            about = {"choices": {"model/head": row, "inference": "whole", "dataset": "cityscapes"}}
            result(row, seed, value, **about | fields).write(folder / row / f"seed-{seed}" / "result.json")
    write_json(folder / "sweep.json", [f"x/{row}/seed-{seed}" for row in SCORES for seed in range(3)])
    return folder


def test_the_card_of_a_row(tmp_path: Path, call: Main) -> None:
    folder = sweep(tmp_path / "table1")
    file = tmp_path / "README.md"
    assert call("report", str(folder), "--card", str(file), "--row", "asp_oc") == 0
    card = ModelCard.load(file)
    assert card.data.library_name == "ocnet_pl"
    assert card.data.pipeline_tag == "image-segmentation"
    assert card.data.datasets == ["cityscapes"]
    assert card.data.metrics == ["accuracy", "mean_iou"]
    assert card.data.eval_results
    (miou,) = [one for one in card.data.eval_results if one.metric_type == "mean_iou"]
    assert (miou.metric_value, miou.dataset_type, miou.dataset_split) == (83, "cityscapes", "val")
    assert miou.metric_args == {"seeds": 3, "standard_deviation": 1}
    for words in ("83.00 ± 1.00", "0: 82.00, 1: 84.00, 2: 83.00.", "+7.00", "Deviations from the paper", "hf://"):
        assert words in card.text, words
    assert "76.00 ± 1.00" not in card.text


def test_text_of_runs_is_escaped(tmp_path: Path, call: Main) -> None:
    label = "A|B <b>x</b> [y](http://z)\n---\nlicense: mit\x1b"
    config = {"model": {"head": {"label": label}, "backbone": {"model_name": "<script>|`"}}}
    choices = {"model/head": "asp_oc", "inference": "whole", "dataset": "x: [y\n---"}
    result("asp_oc", 0, 50, "other", config=config, choices=choices).write(
        tmp_path / "other" / "asp_oc" / "seed-0" / "result.json"
    )
    file = tmp_path / "README.md"
    assert call("report", str(tmp_path / "other"), "--card", str(file)) == 0
    card = ModelCard.load(file)
    assert card.data.to_dict().keys() == {
        "library_name", "pipeline_tag", "tags", "datasets", "metrics", "model-index"
    }  # fmt: skip
    assert card.text.lstrip().startswith(r"# A\|B &lt;b>x&lt;/b> [y]\(http://z)\\n---")
    assert "<script>" not in card.text
    assert "\x1b" not in file.read_text()


@pytest.mark.parametrize(
    ("row", "words"), [([], "give one with --row: baseline, asp_oc"), (["--row", "ppm"], "no finished row ppm")]
)
def test_another_row_is_refused(
    row: list[str], words: str, tmp_path: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = sweep(tmp_path / "table1")
    assert call("report", str(folder), "--card", str(tmp_path / "README.md"), *row) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "README.md").exists()
    assert not (folder / "table.md").exists()


def test_a_card_replaces_no_file(tmp_path: Path, call: Main, capsys: pytest.CaptureFixture[str]) -> None:
    folder = sweep(tmp_path / "table1")
    (tmp_path / "README.md").write_text("mine")
    assert call("report", str(folder), "--card", str(tmp_path / "README.md"), "--row", "asp_oc") == 2
    assert "already exists" in capsys.readouterr().err
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_row_without_a_card_is_a_slip(call: Main) -> None:
    assert call("report", "--row", "asp_oc") == 2
