"""Differences from the paper's protocol, computed from the runs' configs."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ocnet_pl.record.identity import MACHINE_KEYS, config_difference
from ocnet_pl.record.result import Result

ROWS = "rows"
SEEDS = "seeds"

_CHANGES_NUMBERS = ("model.", "dataset.", "schedule.", "loss.", "inference.", "trainer.", "parent", "callbacks.")
_CHANGES_NONE = {
    *MACHINE_KEYS, "schedule.val_every", "schedule.checkpoint_every", "schedule.log_every", "dataset.val_batch_size",
    "trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy", "trainer.deterministic",
    "trainer.sync_batchnorm",  # reported if it makes a difference
}  # fmt: skip

Runs = Mapping[str, Sequence[Result]]
"""Finished runs by label of their row."""


@dataclass(frozen=True)
class Deviation:
    """One difference from the paper.

    Attributes:
        key: config key, config group, `rows` or `seeds`.
        ours: value of the runs.
        paper: the paper's value; None for an override that the paper does not mention.
        runs: rows and seeds that it applies to; empty for all.
    """

    key: str
    ours: Any
    paper: Any
    runs: str = ""


def deviations(paper: Mapping[str, Any], rows: Runs) -> list[Deviation]:
    """Differences of a table's finished runs from the paper's protocol; empty if the paper has no such table.

    Args:
        paper: table of `experiments/paper.yaml`; the keys of its `protocol` are those of the command line.
        rows: finished runs by label of their row.
    """
    if "protocol" not in paper:
        return []
    runs = [(label, result) for label, results in rows.items() for result in results]
    found: dict[tuple[str, str], tuple[Any, Any, list[tuple[str, Result]]]] = {}
    for label, result in runs:
        for key, ours, theirs in _of_run(result, _protocol(paper, result)):
            found.setdefault((key, f"{ours} {theirs}"), (ours, theirs, []))[2].append((label, result))
    differences = [Deviation(key, ours, theirs, _names(hits, runs)) for (key, _), (ours, theirs, hits) in found.items()]
    order = list(paper["protocol"])
    differences.sort(key=lambda d: order.index(d.key) if d.key in order else len(order))
    always = [Deviation(key, ours, theirs) for key, (ours, theirs) in paper.get("always", {}).items()]
    trained = {result.row for _, result in runs} & set(paper["rows"])
    fewer = [Deviation(ROWS, len(trained), len(paper["rows"]))] if len(trained) < len(paper["rows"]) else []
    return [*always, *differences, *fewer, *_seeds(paper["protocol"][SEEDS], rows)]


def unlike_seeds(rows: Runs) -> dict[str, str]:
    """Seeds with different configs, `PPM, seed 0 and seed 1: schedule.max_steps: 300 -> 400`, and their row."""
    return {
        f"{where}: {'; '.join(differences)}": label
        for label, where, first, other in _pairs(rows)
        if (differences := [d for d in config_difference(first.config, other.config) if not d.startswith("seed:")])
    }


def unlike_images(rows: Runs) -> dict[str, str]:
    """Seeds that read other images of one name, `PPM, seed 0 and seed 1: different images in val`, and their row."""
    return {
        f"{where}: different images in {', '.join(splits)}": label
        for label, where, first, other in _pairs(rows)
        if (splits := sorted(s for s in first.data.keys() & other.data.keys() if first.data[s] != other.data[s]))
    }


def _pairs(rows: Runs) -> Iterator[tuple[str, str, Result, Result]]:
    """Row, names of both, the row's first run and each other."""
    for label, results in rows.items():
        for result in results[1:]:
            yield label, f"{label}, seed {results[0].seed} and seed {result.seed}", results[0], result


def _protocol(paper: Mapping[str, Any], result: Result) -> dict[str, Any]:
    """Settings of the paper's run of a row."""
    protocol = {key: value for key, value in paper["protocol"].items() if key != SEEDS}
    row = paper["rows"].get(result.row)
    if row is None:
        return protocol
    expected = {"model/head": result.row} | protocol | row.get("protocol", {})
    return {key: value for key, value in expected.items() if value is not None}


def _of_run(result: Result, protocol: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """(key, our value, the paper's) of every setting that differs, then of other overrides."""
    other_data = result.choices.get("dataset") != protocol.get("dataset")
    for key, theirs in protocol.items():
        known, ours = _look_up(result, key)
        if key == "schedule.max_steps" and result.steps < result.planned_steps:
            ours = result.steps  # a callback ended the training
        if (known and ours != theirs) or (not known and not (other_data and key.startswith("dataset."))):
            yield key, ours, theirs
    for override in result.overrides:
        key = override.lstrip("+~").split("=", 1)[0]
        if key.startswith(_CHANGES_NUMBERS) and key not in _CHANGES_NONE and key not in protocol:
            yield key, _look_up(result, key)[1], None
    if callbacks := result.config.get("callbacks"):
        yield "callbacks", ", ".join(callbacks), None
    if result.processes > 1 and not result.config.get("trainer", {}).get("sync_batchnorm"):
        yield "trainer.sync_batchnorm", False, True


def _look_up(result: Result, key: str) -> tuple[bool, Any]:
    """True where a run has a setting, and its value: the option of a config group, or a value of the config."""
    if key in result.choices:
        return True, result.choices[key]
    node: Any = result.config
    for name in key.split("."):
        if not isinstance(node, dict) or name not in node:
            return False, None
        node = node[name]
    return True, node


def _names(hits: Sequence[tuple[str, Result]], runs: Sequence[tuple[str, Result]]) -> str:
    """Rows, with seeds if only some of a row's runs are concerned; empty for all runs."""
    if len(hits) == len(runs):
        return ""
    words = []
    for label in dict.fromkeys(label for label, _ in hits):
        seeds = [result.seed for row, result in hits if row == label]
        all_of_row = len(seeds) == sum(row == label for row, _ in runs)
        words.append(label if all_of_row else f"{label} seed {', '.join(map(str, seeds))}")
    return ", ".join(words)


def _seeds(planned: int, rows: Runs) -> list[Deviation]:
    by_count = defaultdict(list)
    for label, results in rows.items():
        if len(results) != planned:
            by_count[len(results)].append(label)
    return [
        Deviation(SEEDS, count, planned, "" if len(labels) == len(rows) else ", ".join(labels))
        for count, labels in sorted(by_count.items())
    ]
