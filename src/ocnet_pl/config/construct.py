"""Objects from config nodes: Hydra's `instantiate`, with one-line errors that name the key."""

import inspect
from collections.abc import Iterable
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, open_dict

from ocnet_pl.arguments import ArgumentError
from ocnet_pl.config.targets import import_target
from ocnet_pl.errors import UserError


def construct(node: DictConfig, **arguments: Any) -> Any:
    """Object of a node, with further arguments that take precedence over the node's.

    Raises:
        UserError: the class refuses an argument; the line begins with its key in the whole config.
    """
    place = node._get_full_key(None)  # private: OmegaConf has no public name for it
    if "_target_" in node:
        import_target(node, place)
    try:
        return instantiate(node, **arguments)
    except InstantiationException as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
            if isinstance(cause, ArgumentError):
                raise UserError(f"{place}.{cause}" if place else str(cause)) from None
            if isinstance(cause, UserError):
                raise cause from None
        raise UserError(f"{place or 'config'}: {cause}") from error


def construct_with(node: DictConfig, ignored: Iterable[str] = (), **facts: Any) -> Any:
    """Object of a node, without its keys `ignored`, given those of the facts that its class's signature names."""
    named = signature(node)
    own = node.copy()
    with open_dict(own):
        for key in ignored:
            own.pop(key, None)
    own._set_parent(node._get_parent())  # private: errors name the key in the whole config
    return construct(own, **{name: fact for name, fact in facts.items() if name in named})


def signature(node: DictConfig) -> set[str]:
    """Names of the arguments of a node's class; empty for a class written in C."""
    try:
        return set(inspect.signature(import_target(node, node._get_full_key(None))).parameters)
    except ValueError:
        return set()
