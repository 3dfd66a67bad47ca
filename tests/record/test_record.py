"""Reading files of runs: any content gives a correct value or a one-line error that names the file."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from results import result

from ocnet_pl.errors import UserError
from ocnet_pl.record.context import METRICS, ContextMeasure, Estimate, MapContext, Setting
from ocnet_pl.record.costs import Cost, read_costs, write_costs
from ocnet_pl.record.curves import last_logged_step, read_curves, start_of
from ocnet_pl.record.identity import config_difference, config_hash
from ocnet_pl.record.image_counts import read_counts
from ocnet_pl.record.result import Evaluation, Result
from ocnet_pl.record.sample_pictures import read_sample
from ocnet_pl.record.scores import Score, newest_scores
from ocnet_pl.record.sealed import read_json, write_json, write_record

MEASURE = ContextMeasure(
    "base_oc", Setting("w", "val", 5, 3, 0), [MapContext({m: Estimate(0.5, 0.4, 0.6) for m in METRICS}, {})]
)


def _write_scores(path: Path) -> None:
    write_record(path, [asdict(Score("gp", 0, miou, "2026-01-01", "gp0")) for miou in (70.0, 78.9)])


Kind = tuple[str, Callable[[Path], object], Callable[[Path], object]]
KINDS: dict[str, Kind] = {
    "result": ("result.json", result("gp", 0, 80).write, Result.read),
    "context": ("context-last-val.json", MEASURE.write, ContextMeasure.read),
    "scores": ("scores.json", _write_scores, lambda path: newest_scores(path.parent, [result("gp", 0, 80)])),
    "profile": (
        "profile.csv",
        lambda path: write_costs(path, [Cost("gp", "", 3, 2, 1.0, None, 2.0, 3.0, "abacus")]),
        read_costs,
    ),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Callable[[Path], object]]:
    """Valid file of each kind, and its reader."""
    name, write, read = KINDS[request.param]
    write(tmp_path / name)
    return tmp_path / name, read


def refused(read: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read(path)
    line = str(caught.value)
    assert "\n" not in line
    assert str(path) in line
    assert "; " in line, "what to do"
    return line


DAMAGED = [
    b"{", b"[", b"[]x", b"3", b'"word"', b"null", b"[1, 2]", b'[{"a": 1}]', b"{}", b"\xff\xfe{}", b"\x00" * 50,
    b"[" * 100_000, b'{"a":' * 3000, b"9" * 5000, b"NaN", b'{"seed": 1e999}', b'{"table": "\\ud800"}',
]  # fmt: skip


@pytest.mark.parametrize("content", DAMAGED)
def test_damage_is_reported_in_one_line(kind: tuple[Path, Callable[[Path], object]], content: bytes) -> None:
    path, read = kind
    path.write_bytes(content)
    if path.suffix == ".csv" and content not in (b"\xff\xfe{}",):
        content = b"head,attention\n" + content
        path.write_bytes(content + b",1,2,3,4,5,6,7,8,9,10\n")
    refused(read, path)


def test_a_changed_digit_is_found(kind: tuple[Path, Callable[[Path], object]]) -> None:
    path, read = kind
    whole, before = path.read_bytes(), read(path)
    changed = 0
    for place, byte in enumerate(whole):
        if byte in b"0123456789":
            path.write_bytes(whole[:place] + bytes([byte ^ 1]) + whole[place + 1 :])
            try:
                now = read(path)
            except UserError:
                changed += 1
            else:
                assert now == before, "a number changed without an error"
    assert changed > 3


def test_truncation_anywhere_is_found(kind: tuple[Path, Callable[[Path], object]]) -> None:
    path, read = kind
    whole = path.read_bytes().rstrip()
    for length in range(1, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:length])
        refused(read, path)


@pytest.mark.parametrize("left", [[], [0], [1], [1, 0], [0, 0, 1]])
def test_a_list_that_lost_an_entry_is_found(left: list[int], tmp_path: Path) -> None:
    name, write, read = KINDS["scores"]
    write(tmp_path / name)
    scores = read_json(tmp_path / name)
    (tmp_path / name).write_text(json.dumps([scores[i] for i in left]))
    refused(read, tmp_path / name)


def test_no_file_and_a_folder_in_its_place(kind: tuple[Path, Callable[[Path], object]]) -> None:
    path, read = kind
    path.unlink()
    path.mkdir()
    if path.name != "scores.json":  # which there need not be
        refused(read, path)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": "0"}, {"seed": True}, {"seed": 0.5}, {"seed": -1}, {"seed": 10**30}, {"steps": None}, {"config": []},
        {"config": {"dataset": 3}}, {"config": {"trainer": [1]}}, {"config": {"parent": 3}}, {"choices": {}},
        {"choices": {"model/head": "gp", "inference": 3}}, {"seconds": float("nan")}, {"seconds": -1.0},
        {"parameters": {}}, {"evaluations": {"last": {}}}, {"curves": {"a": [[1]]}}, {"curves": {"a": [[1, "2"]]}},
        {"samples": ["../../etc/passwd"]}, {"unknown": 1}, {"directory": "/tmp"}, {"evaluations": []},
        {"evaluations": {"last/val/whole": {"miou": 57, "pixel_accuracy": 1, "iou": {}, "images": 1}}},
        {"evaluations": {"last/val/whole": {"miou": 0.5, "pixel_accuracy": 1, "iou": {}, "images": 1, "counts": "/x"}}},
        {"evaluations": {"last/val/whole": {"miou": 0.5, "pixel_accuracy": 1, "iou": {"a": "b"}, "images": 1}}},
    ],
)  # fmt: skip
def test_an_invalid_result_is_reported_in_one_line(change: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    result("gp", 0, 80).write(path)
    content = {name: value for name, value in read_json(path).items() if name != "checksum"}
    path.write_text(json.dumps(content | change))
    assert next(iter(change)) in refused(Result.read, path)


@pytest.mark.parametrize("left_out", [[], ["checksum"], ["checksum", "rehearsal", "data"]])
def test_results_of_older_versions_are_read(left_out: list[str], tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    written = result("gp", 0, 80, curves={"train/loss": [(0, 1.5)]})
    written.write(path)
    content = {name: value for name, value in read_json(path).items() if name not in left_out}
    if "checksum" in left_out:
        content["curves"]["train/loss"].append([1, float("nan")])
    path.write_text(json.dumps(content))
    read = Result.read(path)
    assert read.curves == written.curves, "non-finite values are left out"
    assert read.evaluations == written.evaluations
    read.write(path)
    json.loads(path.read_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_json_files_contain_no_nan(value: float, tmp_path: Path) -> None:
    evaluation = Evaluation(value, value, {"road": value, "car": 0.5}, images=1)
    path = tmp_path / "result.json"
    result("gp", 0, 80, evaluations={"last/val/whole": evaluation}, curves={"a": [(0, value), (1, 2.0)]}).write(path)
    content = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert content["evaluations"]["last/val/whole"]["iou"] == {"road": None, "car": 0.5}
    assert content["curves"] == {"a": [[1, 2.0]]}
    with pytest.raises(UserError, match="other"):
        write_json(tmp_path / "other.json", {"a": [value]})
    assert not (tmp_path / "other.json").exists()


def test_a_name_that_is_not_unicode_stays_readable(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    result("gp", 0, 80, config={"dataset": {"root": "/data/caf\udce9"}}).write(path)
    assert Result.read(path).config == {"dataset": {"root": "/data/caf?"}}


def _arrays(**changed: Any) -> dict[str, Any]:
    counts = np.ones((2, 3, 2), np.int64)
    whole = {"counts": counts, "images": ["a.png", "b.png"], "classes": ["x", "y"], "confusion": np.eye(2, dtype=int)}
    return whole | changed


@pytest.mark.parametrize(
    "changed",
    [
        {"counts": np.ones((2, 3))}, {"counts": np.ones((3, 3, 2), int)}, {"counts": np.ones((2, 2, 2), int)},
        {"counts": -np.ones((2, 3, 2), int)}, {"counts": np.ones((2, 3, 2))}, {"counts": np.array(["x"])},
        {"images": ["a.png"]}, {"images": [1, 2]}, {"images": np.array([{"a": 1}, None], object)}, {"classes": ["x"]},
        {"confusion": np.ones((3, 3), int)}, {"confusion": np.ones((2, 2))}, {"counts": np.array(None, object)},
    ],
)  # fmt: skip
def test_invalid_counts_are_reported_in_one_line(changed: dict[str, Any], tmp_path: Path) -> None:
    np.savez(tmp_path / "counts.npz", **_arrays(**changed))
    refused(_counts, tmp_path / "counts.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00v\x00{'descr'", b"\x80\x04N.", b"x" * 99])
def test_damaged_counts_are_reported_in_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "counts.npz"
    path.write_bytes(content)
    refused(_counts, path)
    np.savez_compressed(path, **_arrays())
    whole = path.read_bytes()
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        refused(_counts, path)


def _counts(path: Path) -> object:
    evaluations = {"last/val/whole": Evaluation(0.5, 0.9, {"x": 0.5}, images=2, counts=path.name)}
    return read_counts(result("gp", 0, 80, evaluations=evaluations, directory=path.parent), "last/val/whole")


@pytest.mark.parametrize("content", [b"", b"x" * 99, b"\x89PNG\r\n\x1a\n" + b"\0" * 40, b"GIF89a\1\0\1\0\0\0\0;"])
def test_a_damaged_sample_is_reported_in_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(content)
    refused(read_sample, tmp_path / "x.png")


def test_a_sample_with_too_many_pixels_is_refused(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("1", (9000, 9000)).save(tmp_path / "bomb.png")
    refused(read_sample, tmp_path / "bomb.png")


HEAD = "epoch,step,train/loss\n"


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe", b"epoch,step,train/loss\n0,x,1\n", b"epoch,step,train/loss\n0,1,word\n", b"a,b\n1,2\n",
     b"epoch,step,train/loss\n0,1,2,3,4\n", b"epoch,step,train/loss\n0\n"],
)  # fmt: skip
def test_damaged_logs_are_reported_in_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "step-000000").mkdir()
    (tmp_path / "step-000000" / "metrics.csv").write_bytes(content)
    line = refused(lambda path: read_curves(path.parents[1]), tmp_path / "step-000000" / "metrics.csv")
    assert "damaged" in line


def test_an_incomplete_line_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "step-000000").mkdir()
    log = tmp_path / "step-000000" / "metrics.csv"
    log.write_text(f"{HEAD}0,1,0.5\n0,2,nan\n0,3,0.25\n0,4")
    assert read_curves(tmp_path) == {"train/loss": [(1, 0.5), (3, 0.25)]}
    assert last_logged_step(log) == 4


@pytest.mark.parametrize("resumed", [9, 120, 999_999, 1_000_000, 10_000_000])
def test_starts_are_joined_in_numerical_order(resumed: int, tmp_path: Path) -> None:
    starts = {0: (resumed - 1, resumed + 5), resumed: (resumed + 5,)}
    for start, steps in starts.items():
        folder = tmp_path / f"step-{start:06d}"
        folder.mkdir()
        (folder / "metrics.csv").write_text(HEAD + "".join(f"0,{step},{start + 1}\n" for step in steps))
    (tmp_path / "step-old").mkdir()
    (tmp_path / "step-old" / "metrics.csv").write_text(f"{HEAD}0,0,99\n")
    assert read_curves(tmp_path) == {"train/loss": [(resumed - 1, 1.0), (resumed + 5, resumed + 1.0)]}
    assert [start_of(tmp_path / name) for name in ("step-000120", "step-1000000", "step-x", "x")] == [
        120,
        10**6,
        None,
        None,
    ]


def test_a_setting_that_an_older_config_lacks_counts_as_its_value_of_then() -> None:
    old = {"dataset": {"crop_size": [64, 64]}, "schedule": {"lr": 0.1}}
    same = {
        "rehearsal": False,
        "dataset": {"crop_size": [64, 64], "disparity": False, "poses": False, "absent_classes": "skip"},
        "schedule": {"lr": 0.1, "head_lr_factor": 1.0},
    }
    assert config_difference(old, same) == config_difference(same, old) == []
    assert config_hash(old) == config_hash(same)
    other = same | {"dataset": same["dataset"] | {"disparity": True}}
    assert config_difference(old, other) == ["dataset.disparity: False -> True"]
    assert config_hash(old) != config_hash(other)
