"""Arguments are checked against annotations, and the one that does not fit is named in one line."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from omegaconf import OmegaConf
from pydantic import TypeAdapter

from ocnet_pl.arguments import (
    ArgumentError,
    Byte,
    Name,
    Number,
    Positive,
    PositiveNumber,
    Size,
    Whole,
    checked,
    refuse,
)


class Base:
    @checked
    def __init__(
        self, *, size: Size = (1, 2), share: Number = 0.5, rate: PositiveNumber | None = None, name: Name = "x"
    ) -> None:
        self.size, self.share, self.rate, self.name = size, share, rate, name


class Derived(Base):
    @checked
    def __init__(
        self,
        first: Name,
        *,
        count: Positive,
        ids: Sequence[Byte] = (),
        counts: dict[str, Whole] | None = None,
        pairs: Sequence[Sequence[str]] = (),
        **more: Any,
    ) -> None:
        super().__init__(**more)
        self.first, self.count, self.ids, self.counts, self.pairs = first, count, ids, counts, pairs


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"count": 0}, "count=0: expected greater than or equal to 1"),
        ({"count": "3"}, "count=3: expected a valid integer"),
        ({"count": 3.0}, "count=3.0: expected a valid integer"),
        ({"count": True}, "count=true: expected a valid integer"),
        ({"count": None}, "count=null: expected a valid integer"),
        ({}, "count: has no value"),
        ({"count": 1, "ids": [1, "2"]}, "ids=[1,2]: expected a valid integer; [1] is '2'"),
        ({"count": 1, "ids": 3}, "ids=3: expected a list"),
        ({"count": 1, "ids": "12"}, "ids=12: expected a list"),
        ({"count": 1, "counts": {"a": 1, "b": -1}}, "counts.b=-1: expected greater than or equal to 0"),
        ({"count": 1, "pairs": [["a"], ["b", 2]]}, "pairs=[[a],[b,2]]: expected a valid string; [1][1] is 2"),
        ({"count": 1, "size": [1]}, "size=[1]: expected at least 2 items, not 1"),
        ({"count": 1, "size": [1, 2, 3]}, "size=[1,2,3]: expected at most 2 items, not 3"),
        ({"count": 1, "share": float("nan")}, "share=nan: expected"),
        ({"count": 1, "share": float("inf")}, "share=inf: expected"),
        ({"count": 1, "rate": 0}, "rate=0: expected greater than 0"),
        ({"count": 1, "name": False}, "name=false: expected a word; write yes, no"),
        ({"count": 1, "sise": [1, 2]}, "sise=[1,2]: unexpected keyword argument"),
    ],
)
@pytest.mark.parametrize(
    "wrap", [dict, lambda arguments: dict(OmegaConf.create(arguments))], ids=["plain", "OmegaConf"]
)
def test_what_does_not_fit_is_named(arguments: dict[str, Any], words: str, wrap: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        Derived("x", **wrap(arguments))
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


def test_an_argument_given_by_its_position_is_named() -> None:
    with pytest.raises(ArgumentError, match=r"^first=null: expected"):
        Derived(None, count=1)  # type: ignore[arg-type]


def test_what_fits_arrives_as_plain_values() -> None:
    given: Mapping[str, Any] = {"ids": [1, 2], "counts": {"a": 1}, "pairs": [["a", "b"]], "size": [3, 4], "name": 7}
    for arguments in (given, OmegaConf.create(dict(given))):
        made = Derived("x", count=1, **arguments)
        assert (made.ids, made.counts, made.pairs, made.size, made.name) == (
            [1, 2],
            {"a": 1},
            [["a", "b"]],
            [3, 4],
            "7",
        )
        assert type(made.ids) is list
        assert type(made.counts) is dict
        assert type(made.pairs[0]) is list


def test_the_signature_stays() -> None:
    assert list(inspect.signature(Derived).parameters) == ["first", "count", "ids", "counts", "pairs", "more"]


def test_errors_of_a_call_within_stay_what_they_are() -> None:
    class Inner:
        @checked
        def __init__(self) -> None:
            TypeAdapter(int).validate_python("word")

    with pytest.raises(ValueError, match="valid integer") as caught:
        Inner()
    assert not isinstance(caught.value, ArgumentError)


def test_long_values_are_shortened() -> None:
    assert len(str(refuse("weights", list(range(1000)), "other numbers"))) < 200
