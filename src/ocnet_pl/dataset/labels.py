"""Tables of 256 entries that translate between stored ids and train ids."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ocnet_pl.metrics import IGNORE

Bytes = NDArray[np.uint8]
UNKNOWN = 254
"""Train id of stored ids that the data set does not have."""


def decoding_table(train_ids: Mapping[int, int]) -> Bytes:
    """Table stored id -> train id, (256,): `UNKNOWN` for ids without an entry; 255 without an entry is ignored."""
    table = np.full(256, UNKNOWN, np.uint8)
    table[IGNORE] = IGNORE
    for stored, train in train_ids.items():
        table[stored] = train
    return table


def ignored_id(table: Bytes) -> int:
    """Highest ignored stored id, for pixels without a label."""
    return int(np.flatnonzero(table == IGNORE)[-1])


def encoding_table(table: Bytes) -> Bytes:
    """Inverse table, (256,): train id -> its lowest stored id; other numbers -> the lowest ignored id."""
    encoding = np.full(256, np.flatnonzero(table == IGNORE)[0], np.uint8)
    for stored in range(255, -1, -1):
        if table[stored] < UNKNOWN:
            encoding[table[stored]] = stored
    return encoding


def mirroring_table(table: Bytes, mirror_pairs: Sequence[tuple[int, int]]) -> Bytes | None:
    """Stored id -> stored id in the mirrored image, (256,), for pairs of train ids; None where nothing changes."""
    if not mirror_pairs:
        return None
    encoding, mirroring = encoding_table(table), np.arange(256, dtype=np.uint8)
    for left, right in mirror_pairs:
        mirroring[table == left], mirroring[table == right] = encoding[right], encoding[left]
    return mirroring


def grouped(groups: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Group of each class, in the order of the train ids -> train ids of each group, in the order of appearance."""
    return {
        name: tuple(train_id for train_id, group in enumerate(groups) if group == name)
        for name in dict.fromkeys(groups)
    }
