"""Optional packages: a setting that needs a missing one is reported in one line, before anything starts."""

from importlib.util import find_spec

from ocnet_pl.errors import UserError


def require_extra(setting: str, module: str, extra: str) -> None:
    """Check that an optional package is installed.

    Args:
        setting: the setting that needs it, as typed.
        module: module of the package.
        extra: name of the extra that installs it.

    Raises:
        UserError: it is not installed.
    """
    if find_spec(module) is None:
        raise UserError(missing_extra(setting, extra))


def missing_extra(setting: str, extra: str) -> str:
    """Message about a setting whose optional package is missing."""
    return f"{setting}: needs an optional package; install it with: pip install 'ocnet_pl[{extra}]'"
