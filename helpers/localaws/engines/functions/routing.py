"""Aliases that point at two versions: which invocation goes where.

See https://docs.aws.amazon.com/lambda/latest/dg/configuring-alias-routing.html.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from .faults import invalid
from .names import LATEST

Route = Mapping[str, float]  # the share of each version; they add up to 1


def route_of(alias: Mapping[str, Any]) -> Route:
    """The versions of an alias, and their shares."""
    additional: dict[str, float] = alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
    return {alias["FunctionVersion"]: 1.0 - sum(additional.values()), **additional}


def choose(route: Route, draw: float | None = None) -> str:
    """The version of one invocation; ``draw`` is a random number in [0, 1)."""
    left = random.random() if draw is None else draw
    for version, share in route.items():
        if left < share:
            return version
        left -= share
    return next(version for version, share in reversed(list(route.items())) if share > 0)


def shares(route: Route, count: int) -> dict[str, int]:
    """``count`` environments, divided as the invocations are."""
    first, *others = route
    divided = {version: round(count * route[version]) for version in others}
    return {first: count - sum(divided.values()), **divided}


def check_weights(version: str, weights: Mapping[str, float]) -> None:
    """Raise where an alias of ``version`` cannot have these additional versions."""
    if len(weights) > 1:
        invalid("Number of items in AdditionalVersionWeights cannot be greater than 1")
    if version in weights:
        invalid(
            f"Invalid function version {version}. Function version {version} is already included in routing "
            "configuration."
        )
    if weights and LATEST in (version, *weights):
        invalid("$LATEST is not supported for an alias pointing to more than 1 version")
