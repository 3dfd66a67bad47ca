"""Searches: sweepers that choose the values of a run by the scores of earlier runs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, Transformer

from ocnet_pl.config.extras import require_extra
from ocnet_pl.errors import UserError

_OPTUNA = "hydra_plugins.hydra_optuna_sweeper"

RESULTS = "optimization_results.yaml"
"""File in the folder of a sweep, in which Optuna's sweeper writes the best values."""


def is_search(hydra: Any) -> bool:
    """Return whether the sweeper of a `hydra` node plans a run only when it starts."""
    return bool(hydra.runtime.choices.get("hydra/sweeper", "basic") != "basic")


def require_sweeper(hydra: Any) -> None:
    """Check that the package of the sweeper is installed, and that it looks for high scores.

    Raises:
        UserError: one of them is not so.
    """
    if "optuna" not in str(hydra.sweeper._target_):
        return
    require_extra(f"hydra/sweeper={hydra.runtime.choices['hydra/sweeper']}", _OPTUNA, "optuna")
    direction = str(hydra.sweeper.direction).removeprefix("Direction.")
    if direction != "maximize":
        raise UserError(
            f"hydra.sweeper.direction={direction}: would look for the lowest mIoU; use hydra/sweeper=optuna_miou, or "
            "add hydra.sweeper.direction=maximize"
        )


def ends(overrides: Sequence[str]) -> list[str]:
    """The overrides of a search, each searched setting with its first and last value: `a=interval(1,2)` -> `a=1,2`."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return [_with_ends(override) if override.is_sweep_override() else str(override.input_line) for override in parsed]


def _with_ends(override: Override) -> str:
    value = override.value()
    if isinstance(value, IntervalSweep):
        values: list[Any] = [value.start, value.end]
    else:
        values = list(override.sweep_iterator(transformer=Transformer.encode))
    return f"{override.get_key_element()}={values[0]},{values[-1]}"


@contextmanager
def readable_search_errors() -> Iterator[None]:
    """Turn the errors of Optuna's sweeper about runs that are not finished into one line."""
    try:
        yield
    except ValueError as error:
        if "No trials are completed" in str(error):
            raise UserError("no run of this search is finished; see the errors above") from error
        if "Return value must be float-castable" in str(error):
            raise UserError(
                "the search ends because a run is not finished; see the error above, or continue without such runs "
                "with hydra.sweeper.max_failure_rate=1"
            ) from error
        raise
