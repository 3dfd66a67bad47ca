"""In what the runs of a table are not the paper's, read off their resolved configs; nothing of it is typed."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ocnet_pl.record.identity import MACHINE_KEYS, config_difference
from ocnet_pl.record.result import Result

ROWS = "rows"
SEEDS = "seeds"

_CHANGES_NUMBERS = ("model.", "dataset.", "schedule.", "loss.", "inference.", "trainer.", "parent")
_CHANGES_NONE = {
    *MACHINE_KEYS, "schedule.val_every", "schedule.checkpoint_every", "schedule.log_every", "dataset.val_batch_size",
    "trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy", "trainer.deterministic",
    "trainer.sync_batchnorm",  # told where it makes a difference
}  # fmt: skip


@dataclass(frozen=True)
class Deviation:
    """One thing that is not as in the paper.

    Attributes:
        key: in the config, or a config group, or `rows`, `seeds`, or `network`.
        ours: value of the runs.
        paper: value of the paper's; None for what was overridden and the paper says nothing of.
        runs: whose, in words; empty for all.
    """

    key: str
    ours: Any
    paper: Any
    runs: str = ""


def deviations(paper: Mapping[str, Any], rows: Mapping[str, Sequence[Result]]) -> list[Deviation]:
    """Of the finished runs of a table from the paper's protocol; empty where the paper has no such table.

    Args:
        paper: a table of `experiments/paper.yaml`, its `protocol` and that of its rows keyed as on the command line.
        rows: finished runs by label of their row.
    """
    if "protocol" not in paper:
        return []
    found: dict[tuple[str, str], list[tuple[str, Result, Any, Any]]] = defaultdict(list)
    for label, results in rows.items():
        for result in results:
            for key, ours, theirs in _of_run(result, _protocol(paper, result)):
                found[key, f"{ours} {theirs}"].append((label, result, ours, theirs))
    runs = [(label, result) for label, results in rows.items() for result in results]
    differences = [
        Deviation(key, hits[0][2], hits[0][3], _whose([(label, result) for label, result, *_ in hits], runs))
        for (key, _), hits in found.items()
    ]
    order = list(paper["protocol"])
    differences.sort(key=lambda d: order.index(d.key) if d.key in order else len(order))
    always = [Deviation(key, ours, theirs) for key, (ours, theirs) in paper.get("always", {}).items()]
    return [*always, *differences, *_rows(paper, rows), *_seeds(paper["protocol"][SEEDS], rows)]


def unlike_seeds(rows: Mapping[str, Sequence[Result]]) -> list[str]:
    """Where seeds that are averaged do not share all the rest: `PPM: schedule.max_steps: 300 -> 400`."""
    found = []
    for label, results in rows.items():
        for result in results[1:]:
            differences = [d for d in config_difference(results[0].config, result.config) if not d.startswith("seed:")]
            found += [f"{label}, seed {results[0].seed} and seed {result.seed}: {'; '.join(differences)}"] * bool(
                differences
            )
    return found


def unlike_images(rows: Mapping[str, Sequence[Result]]) -> list[str]:
    """Where seeds that are averaged read other images under the same name: `PPM: val of seed 0 and of seed 1`."""
    found = []
    for label, results in rows.items():
        for result in results[1:]:
            shared = results[0].data.keys() & result.data.keys()
            other = sorted(split for split in shared if results[0].data[split] != result.data[split])
            if other:
                found.append(
                    f"{label}, seed {results[0].seed} and seed {result.seed}: other images of {', '.join(other)}"
                )
    return found


def _protocol(paper: Mapping[str, Any], result: Result) -> dict[str, Any]:
    """What the paper's run of this row would say."""
    protocol = {key: value for key, value in paper["protocol"].items() if key != SEEDS}
    row = paper["rows"].get(result.row)
    if row is None:
        return protocol
    expected = {"model/head": result.row} | protocol | row.get("protocol", {})
    return {key: value for key, value in expected.items() if value is not None}


def _of_run(result: Result, protocol: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """(key, ours, the paper's) of everything that differs, then what was typed besides."""
    other_data = result.choices.get("dataset") != protocol.get("dataset")
    found = []
    for key, theirs in protocol.items():
        known, ours = _look_up(result, key)
        if (known and ours != theirs) or (not known and not (other_data and key.startswith("dataset."))):
            found.append((key, ours, theirs))
    for override in result.overrides:
        key = override.lstrip("+~").split("=", 1)[0]
        if key.startswith(_CHANGES_NUMBERS) and key not in _CHANGES_NONE and key not in protocol:
            found.append((key, _look_up(result, key)[1], None))
    if result.processes > 1 and not result.config.get("trainer", {}).get("sync_batchnorm"):
        found.append(("trainer.sync_batchnorm", False, True))
    return found


def _look_up(result: Result, key: str) -> tuple[bool, Any]:
    """Whether the run says it, and what: the option chosen in a group, or a value of the config."""
    if key in result.choices:
        return True, result.choices[key]
    node: Any = result.config
    for name in key.split("."):
        if not isinstance(node, dict) or name not in node:
            return False, None
        node = node[name]
    return True, node


def _whose(hits: Sequence[tuple[str, Result]], runs: Sequence[tuple[str, Result]]) -> str:
    """Rows, with their seeds where it is not all of them; empty for all runs."""
    if len(hits) == len(runs):
        return ""
    words = []
    for label in dict.fromkeys(label for label, _ in hits):
        seeds = [result.seed for of_row, result in hits if of_row == label]
        all_of_row = len(seeds) == sum(of_row == label for of_row, _ in runs)
        words.append(label if all_of_row else f"{label} seed {', '.join(map(str, seeds))}")
    return ", ".join(words)


def _rows(paper: Mapping[str, Any], rows: Mapping[str, Sequence[Result]]) -> list[Deviation]:
    there = {result.row for results in rows.values() for result in results} & set(paper["rows"])
    return [] if len(there) == len(paper["rows"]) else [Deviation(ROWS, len(there), len(paper["rows"]))]


def _seeds(planned: int, rows: Mapping[str, Sequence[Result]]) -> list[Deviation]:
    by_number = defaultdict(list)
    for label, results in rows.items():
        if len(results) != planned:
            by_number[len(results)].append(label)
    return [
        Deviation(SEEDS, number, planned, "" if len(labels) == len(rows) else ", ".join(labels))
        for number, labels in sorted(by_number.items())
    ]
