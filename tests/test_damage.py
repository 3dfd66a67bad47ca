"""A run directory, damaged at random: the report is correct or names the damaged file."""

import csv
import io
import json
import math
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Main

from ocnet_pl.record.context import METRICS, ContextMeasure, Estimate, MapContext, Setting
from ocnet_pl.record.costs import Cost, write_costs
from ocnet_pl.record.result import Result
from ocnet_pl.record.scores import enter_scores
from ocnet_pl.record.sealed import read_json

MUTATIONS = 100
READ = ("result.json", "context-last-val.json", "counts-last-val-whole.npz", "scores.json", "profile.csv", ".png")
"""Suffixes of the files that a report reads."""


@pytest.fixture(scope="module")
def whole(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sweep of two rows with all files that a report reads."""
    sweep = tmp_path_factory.mktemp("damage") / "runs"
    for row in ("baseline", "base_oc"):
        shutil.copytree(trained / "runs" / row, sweep / row, ignore=shutil.ignore_patterns("checkpoints"))
    result = Result.read(sweep / "base_oc/seed-0/result.json")
    setting = Setting(result.weights_sha256, "val", 5, 3, 0)
    estimates = {metric: Estimate(0.5 + i / 100, 0.4, 0.6) for i, metric in enumerate(METRICS)}
    measure = ContextMeasure("base_oc", setting, [MapContext(estimates, {"road": estimates})])
    measure.write(sweep / "base_oc/seed-0/context-last-val.json")
    total = result.parameters["total"]
    write_costs(sweep / "profile.csv", [Cost("base_oc", "mapless", total, 20, 1.5, 2.5, 3.5, 4.5, "an abacus")])
    enter_scores(sweep, [f"{result.table}/base_oc=78.9"])
    return sweep


Node = dict[str, Any] | list[Any]


def nodes(node: Any) -> list[Node]:
    """All non-empty lists and objects of a JSON file."""
    if not isinstance(node, (dict, list)) or not node:
        return []
    return [node, *(found for child in (node.values() if isinstance(node, dict) else node) for found in nodes(child))]


def _in_json(change: Callable[[random.Random, Node, Any], None]) -> Callable[[random.Random, Path], None]:
    def mutate(dice: random.Random, path: Path) -> None:
        if path.suffix != ".json":
            _flip(dice, path)
            return
        content = read_json(path)
        node = dice.choice(nodes(content))
        change(dice, node, dice.choice(list(node) if isinstance(node, dict) else range(len(node))))
        path.write_text(json.dumps(content))

    return mutate


def _delete(dice: random.Random, node: Node, key: Any) -> None:
    del node[key]


def _retype(dice: random.Random, node: Node, key: Any) -> None:
    node[key] = dice.choice([None, True, "word", "\x1b[31m|<b>$x$", -1, 0.5, [], {}, [[1]], {"a": {"b": 1}}])


def _number(dice: random.Random, node: Node, key: Any) -> None:
    node[key] = dice.choice([math.nan, math.inf, 1e308, -1e308, 10**400, 2**63, 0, 1, 99.5])


def _nest(dice: random.Random, node: Node, key: Any) -> None:
    for _ in range(dice.choice([3, 150, 900])):
        node[key] = [node[key]]


def _rename(dice: random.Random, node: Node, key: Any) -> None:
    if isinstance(node, dict):
        node[f"{key}2"] = node.pop(key)
    else:
        node.append(node[key])


def _flip(dice: random.Random, path: Path) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(dice.choice([1, 1, 5])):
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    path.write_bytes(content)


def _truncate(dice: random.Random, path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: dice.randrange(len(content))])


def _replace(dice: random.Random, path: Path) -> None:
    path.write_bytes(dice.choice([b"", b"[]", b"{}", b"null", b"\xff\xfe", b"[" * 50_000, b"\0" * 100, b"9" * 5000]))


def _duplicate(dice: random.Random, path: Path) -> None:
    path.write_bytes(path.read_bytes() * 2)


KINDS: dict[str, Callable[[random.Random, Path], None]] = {
    "delete": _in_json(_delete), "retype": _in_json(_retype), "number": _in_json(_number), "nest": _in_json(_nest),
    "rename": _in_json(_rename), "flip": _flip, "truncate": _truncate, "replace": _replace, "double": _duplicate,
}  # fmt: skip


def numbers(sweep: Path) -> dict[tuple[str, ...], dict[str, str]]:
    """Lines of table.csv by row, evaluation and metric."""
    lines = csv.DictReader(io.StringIO((sweep / "table.csv").read_text()))
    return {(line["row"], line["evaluation"], line["metric"]): line for line in lines}


@pytest.mark.parametrize("part", range(4))
def test_a_damaged_run_is_reported_or_harmless(
    part: int, whole: Path, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = workplace / "runs"
    shutil.copytree(whole, sweep)
    assert call("report", str(sweep)) == 0
    before = numbers(sweep)
    for column in ("low", "p_holm", "paper", "seeds"):
        assert column in next(iter(before.values()))
    assert {evaluation for _, evaluation, _ in before} >= {"context", "profile", "server/test", "last/val/whole"}
    pictures = set(whole.rglob("samples/*")) - set(whole.rglob("samples/*_000000_*"))  # of other images than the first
    files = sorted(path for path in whole.rglob("*") if path.name.endswith(READ) and path not in pictures)
    assert len(files) == 13, "two results and counts, six pictures, and one of the rest"
    refused = 0
    for number in range(part, MUTATIONS, 4):
        dice = random.Random(number)
        shutil.rmtree(sweep)
        shutil.copytree(whole, sweep)
        damaged = sweep / dice.choice(files).relative_to(whole)
        kind = dice.choice(list(KINDS))
        KINDS[kind](dice, damaged)
        capsys.readouterr()
        case = f"{number}: {kind} {damaged.relative_to(sweep)}"
        code = call("report", str(sweep))
        printed, error = capsys.readouterr()
        named = damaged.name in " ".join(printed.split()).replace(" ", "") or damaged.name in error
        if code == 0:
            assert numbers(sweep) == before, case
        else:
            refused += 1
            assert code in (1, 2), case
            assert named, (case, printed, error)
            assert error.count("\n") == code - 1, case
        if code == 1:
            for name in ("table.md", "table.tex", "table.html"):
                text = (sweep / name).read_text().replace("\\", "").replace("{}", "")
                assert damaged.name.replace("_", "") in text.replace("_", ""), (case, name)
    assert refused > MUTATIONS / 4 / 2, "most damage is seen"
