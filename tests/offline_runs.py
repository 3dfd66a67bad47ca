"""What wandb wrote offline, read back from its transaction logs."""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import wandb
from wandb.proto.wandb_internal_pb2 import Record

_FILE_HEADER, _BLOCK, _HEADER = 7, 32768, struct.Struct("<IHB")


@dataclass
class OfflineRun:
    """One start of a run."""

    id: str = ""
    group: str = ""
    name: str = ""
    project: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None

    def steps(self, metric: str) -> list[int]:
        return [row["trainer/global_step"] for row in self.history if metric in row]


def offline_runs(folder: Path) -> list[OfflineRun]:
    """All starts of all runs below a folder, by path, so in the order in which a run was started."""
    wandb.teardown()  # its service writes behind our back, and has written all when it ends
    return [_read(path) for path in sorted(folder.rglob("offline-run-*/*.wandb"))]


def _read(path: Path) -> OfflineRun:
    run = OfflineRun()
    for record in _records(path.read_bytes()):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            about = record.run
            run.id, run.group, run.name, run.project = about.run_id, about.run_group, about.display_name, about.project
            run.tags = list(about.tags)
            run.config |= _values(about.config.update)
        elif kind == "config":
            run.config |= _values(record.config.update)
        elif kind == "history":
            run.history.append(_values(record.history.item))
        elif kind == "summary":
            run.summary |= _values(record.summary.update)
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    return run


def _values(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def _records(content: bytes) -> Iterator[Record]:
    """LevelDB's log format: blocks of 32 KiB, records that may be cut over several of them."""
    position, parts = _FILE_HEADER, b""
    while position + _HEADER.size <= len(content):
        if _BLOCK - position % _BLOCK < _HEADER.size:  # too little room was left in the block
            position += _BLOCK - position % _BLOCK
            continue
        _, length, kind = _HEADER.unpack_from(content, position)
        position += _HEADER.size
        parts += content[position : position + length]
        position += length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(parts)
            parts = b""
