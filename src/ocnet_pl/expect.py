"""Checks of single values of the configuration, and the one line for a wrong one."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ocnet_pl.errors import UserError


def expect(setting: str, value: Any, holds: bool, expected: str) -> None:
    """Raises: UserError: `holds` is false; the line says what was given and what is expected."""
    if not holds:
        text = written(value)
        if not text.isprintable() or text != text.strip():
            text = repr(text)
        raise UserError(f"{setting}={text if len(text) <= 80 else f'{text[:77]}...'}: {expected} is expected")


def is_whole(value: Any, least: int) -> bool:
    """A whole number from `least` up; 2.0 is none, and true is none."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(value >= least)


def is_number(value: Any) -> bool:
    """A finite number from 0 up."""
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and bool(0 <= value < math.inf)


def is_list(value: Any) -> bool:
    """Several values in an order; a word is none."""
    return isinstance(value, Sequence) and not isinstance(value, str)


def is_size(value: Any) -> bool:
    """[height, width], both from 1 up."""
    return is_list(value) and len(value) == 2 and all(is_whole(side, 1) for side in value)


def written(value: Any) -> str:
    """A value as one writes it on a command line: [64,128], null, true."""
    if is_list(value):
        return f"[{','.join(written(one) for one in value)}]"
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))
