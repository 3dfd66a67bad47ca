"""Checks of constructor arguments and other values of the user; errors are one line."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Annotated, Any, ParamSpec

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, validate_call
from pydantic_core import ErrorDetails

from ocnet_pl.errors import UserError

_LONGEST = 120

P = ParamSpec("P")


def _number_as_name(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Whole = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Byte = Annotated[int, Field(ge=0, le=255)]
Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PositiveNumber = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Size = Annotated[Sequence[Positive], Field(min_length=2, max_length=2)]
"""(height, width)."""
Name = Annotated[str, BeforeValidator(_number_as_name)]
"""A word; YAML reads names that consist of digits as numbers."""


class ArgumentError(UserError):
    """Wrong argument of a constructor: `argument=value: expected ...`."""


def checked(init: Callable[P, None]) -> Callable[P, None]:
    """Decorate an `__init__`: arguments must have the types of their annotations.

    Types are strict: words are not converted to numbers, nor numbers to words. Lists and mappings of any kind arrive as
    `list` and `dict`.

    Raises:
        ArgumentError: when the constructor is called, for the first wrong argument.
    """
    config = ConfigDict(strict=True, arbitrary_types_allowed=True)
    validated = validate_call(config=config)(init)

    @wraps(init)
    def checking(*arguments: P.args, **named: P.kwargs) -> None:
        given = {name: _plain(value) for name, value in named.items()}
        try:
            validated(*arguments, **given)
        except ValidationError as error:
            if error.title != getattr(validated, "__qualname__", ""):
                raise  # of a call within the constructor
            names = list(inspect.signature(init).parameters)
            raise _refusal(error, names, dict(zip(names, arguments, strict=False)) | given) from None

    return checking


def refuse(argument: str, value: Any, expected: str) -> ArgumentError:
    """Error for an argument that does not fit the others."""
    return ArgumentError(f"{argument}={_short(value)}: expected {expected}")


def is_list(value: Any) -> bool:
    """Test for a sequence of values; a word is not a list."""
    return isinstance(value, Sequence) and not isinstance(value, str)


def written(value: Any) -> str:
    """Value as it is written on a command line: [64,128], null, true."""
    if is_list(value):
        return f"[{','.join(written(item) for item in value)}]"
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if is_list(value) else value


def _short(value: Any) -> str:
    text = written(value)
    if not text.isprintable() or text != text.strip():
        text = repr(text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _refusal(error: ValidationError, names: Sequence[str], given: Mapping[str, Any]) -> ArgumentError:
    problem = error.errors(include_url=False)[0]
    path, wrong = list(problem["loc"]), problem["input"]
    if isinstance(path[0], int) and path[0] < len(names):
        path[0] = names[path[0]]  # given by its position
    keys = path[: next((place for place, part in enumerate(path) if isinstance(part, int)), len(path))]
    value: Any = given
    for key in keys:
        value = value[key] if isinstance(value, Mapping) and key in value else wrong
    if problem["type"].startswith("missing"):
        return ArgumentError(f"{path[0]}: has no value; set it")
    inside = "".join(f"[{part}]" for part in path[len(keys) :])
    where = f"; {inside} is {wrong!r}" if inside else ""
    return ArgumentError(f"{'.'.join(map(str, keys))}={_short(value)}: {_expected(problem)}{where}")


def _expected(problem: ErrorDetails) -> str:
    """Pydantic's message, without its terms for itself."""
    if problem["type"] == "sequence_str" or problem.get("ctx", {}).get("class") == "Sequence":
        return "expected a list"
    if problem["type"] == "string_type" and isinstance(problem["input"], bool):
        return "expected a word; write yes, no, on, off, true and false in quotes"
    message = problem["msg"].replace(" after validation", "")
    for subject in ("Input should be", "Value should have"):
        message = message.replace(subject, "expected")
    return message[:1].lower() + message[1:]
