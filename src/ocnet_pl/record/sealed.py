"""Records: dataclasses kept as JSON with a checksum, and read back strictly.

A file that was damaged or edited is refused in one line; files of versions without checksums are read too.
"""

import hashlib
import json
from collections.abc import Hashable, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from pydantic import Field, TypeAdapter, ValidationError

from ocnet_pl.errors import UserError
from ocnet_pl.record.directory import read_json, write_json
from ocnet_pl.record.identity import Plain

Whole = Annotated[int, Field(ge=0, lt=2**63)]
"""A whole number from 0 up."""
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""A finite number from 0 up."""
Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
FileName = Annotated[str, Field(pattern=r"^[^/\x00]+$")]
"""Name of a file in the same folder."""

CHECKSUM = "checksum"
_DIGITS = 16

T = TypeVar("T")


def write_record(path: Path, content: Plain) -> None:
    """Write a record with the checksum of all in it, whole or not at all."""
    write_json(path, {**content, CHECKSUM: checksum(content)})


def write_records(path: Path, contents: Sequence[Plain]) -> None:
    """Write a list of records, each with the checksum of the whole list, whole or not at all."""
    write_json(path, [{**content, CHECKSUM: checksum(list(contents))} for content in contents])


def read_record(path: Path, kind: type[T], what: str, remedy: str) -> T:
    """Read a record, or a list of records.

    Args:
        path: of the JSON file.
        kind: dataclass, or list of it; fields that are missing take their defaults.
        what: name of such a file, for the error.
        remedy: what to do about a file that cannot be read.

    Raises:
        UserError: the file cannot be read, is of another kind, or was changed after it was written.
    """
    content = read_json(path)
    try:
        records = [one for one in (content if isinstance(content, list) else [content]) if isinstance(one, dict)]
        kept = {str(record.pop(CHECKSUM, "")) for record in records} - {""}
        if kept and kept != {checksum(content)}:
            raise UserError(
                f"{path}: was changed after it was written, its checksum does not fit; {remedy} "
                f'(after a change on purpose, delete the lines "{CHECKSUM}")'
            )
        # Bytes of a file name that are no Unicode, which JSON keeps as surrogates, become question marks.
        text = json.dumps(content, ensure_ascii=False).encode(errors="replace")
        return validated(path, kind, text, what, remedy)
    except RecursionError:
        raise UserError(f"{path}: not {what} (nested too deeply); {remedy}") from None


def validated(path: Path, kind: type[T], content: str | bytes, what: str, remedy: str) -> T:
    """Make a dataclass of JSON text: no number is made of a word, and no key is left over.

    Raises:
        UserError: content of another kind; the other arguments are for its message.
    """
    try:
        adapter: TypeAdapter[T] = _adapter(cast("Hashable", kind))
        return adapter.validate_json(content, strict=True, extra="forbid")
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "all of it"
        reason = "unknown" if first["type"] == "unexpected_keyword_argument" else first["msg"]
        raise UserError(f"{path}: not {what} ({where}: {reason}); {remedy}") from None


def checksum(content: Any) -> str:
    """Hex digits that change with any value in plain content, whatever the order of its keys."""
    text = json.dumps(json.loads(json.dumps(content)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


@cache
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast("Any", kind))
