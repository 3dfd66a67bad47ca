"""JSON files: checksums, and strict reading into dataclasses. Files of versions without checksums are read too."""

import hashlib
import json
from collections.abc import Hashable
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from pydantic import Field, TypeAdapter, ValidationError

from ocnet_pl.atomic import write_text
from ocnet_pl.errors import UserError, unusable
from ocnet_pl.record.identity import Plain

Whole = Annotated[int, Field(ge=0, lt=2**63)]
"""Non-negative integer."""
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""Non-negative finite number."""
Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
FileName = Annotated[str, Field(pattern=r"^[^/\x00]+$")]
"""Name of a file in the same folder."""

CHECKSUM = "checksum"
_DIGITS = 16

T = TypeVar("T")


def write_json(path: Path, content: Any) -> None:
    """Write plain content; raises `UserError` if it contains NaN or infinity, which JSON cannot represent."""
    try:
        text = json.dumps(content, indent=1, allow_nan=False)
    except ValueError:
        raise UserError(f"{path}: not written, a number in it is infinite or NaN") from None
    write_text(path, f"{text}\n")


def read_json(path: Path) -> Any:
    """Read plain content; accepts NaN and Infinity, which older versions wrote."""
    try:
        if not path.is_file():
            raise UserError(f"{path}: no such file; restore it")
        return json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(unusable(error)) from error
    except (ValueError, RecursionError) as error:  # invalid UTF-8 is a ValueError too
        raise UserError(f"{path}: not valid JSON ({error}); restore or delete it") from error


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object, found {type(content).__name__}; restore or delete it")
    return content


def write_record(path: Path, content: Plain | list[Plain]) -> None:
    """Write a record, or a list of records, with the checksum of the whole content in each record."""
    seal = {CHECKSUM: checksum(content)}
    write_json(path, [one | seal for one in content] if isinstance(content, list) else content | seal)


def read_record(path: Path, kind: type[T], what: str, remedy: str) -> T:
    """Read a record, or a list of records.

    Args:
        path: path of the JSON file.
        kind: type of the content, built of dataclasses; missing fields take their defaults.
        what: name of this kind of file, for the error.
        remedy: what to do about a file that cannot be read, for the error.
    """
    content = read_json(path)
    try:
        records = [one for one in (content if isinstance(content, list) else [content]) if isinstance(one, dict)]
        kept = {str(record.pop(CHECKSUM, "")) for record in records} - {""}
        if kept and kept != {checksum(content)}:
            raise UserError(
                f"{path}: its checksum does not match, so it was changed after it was written; {remedy} "
                f'(if you changed it on purpose, delete the lines "{CHECKSUM}")'
            )
        # JSON keeps bytes of a file name that are not Unicode as surrogates; they become question marks.
        text = json.dumps(content, ensure_ascii=False).encode(errors="replace")
        return validated(path, kind, text, what, remedy)
    except RecursionError:
        raise UserError(f"{path}: not {what} (nested too deeply); {remedy}") from None


def validated(path: Path, kind: type[T], content: str | bytes, what: str, remedy: str) -> T:
    """Parse JSON text into a type, strictly: no conversion between words and numbers, no unknown keys.

    Raises:
        UserError: content of another kind; the other arguments are for the message.
    """
    try:
        adapter: TypeAdapter[T] = _adapter(cast("Hashable", kind))
        return adapter.validate_json(content, strict=True, extra="forbid")
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole file"
        reason = "unknown" if first["type"] == "unexpected_keyword_argument" else first["msg"]
        raise UserError(f"{path}: not {what} ({where}: {reason}); {remedy}") from None


def checksum(content: Any) -> str:
    """Checksum of plain content in hexadecimal digits, independent of the order of its keys."""
    text = json.dumps(json.loads(json.dumps(content)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


@cache
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast("Any", kind))
