"""Lambda's own errors; each carries ``Type``: who is at fault."""

from __future__ import annotations

from typing import Any, NoReturn

from ...errors import AwsError


def refuse(code: str, message: str, status: int = 400, **members: Any) -> NoReturn:
    """Raise an error of the caller's making."""
    raise AwsError(code, message, status, Type="User", **members)


def invalid(message: str) -> NoReturn:
    """Raise ``InvalidParameterValueException``, the most common of them."""
    refuse("InvalidParameterValueException", message)


def violated(value: object, member: str, constraint: str) -> NoReturn:
    """Raise the ``ValidationException`` of a constraint that AWS checks but its model does not carry."""
    raise AwsError(
        "ValidationException",
        f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: "
        f"Member must {constraint}",
    )


def not_found(arn: str) -> NoReturn:
    """Raise what every operation answers for a function, a version or an alias that is not there."""
    refuse("ResourceNotFoundException", f"Function not found: {arn}", 404)


class Throttled(AwsError):
    """Not now: as many invocations as are allowed run already."""

    def __init__(self, reason: str, message: str = "Rate Exceeded.") -> None:
        super().__init__("TooManyRequestsException", message, 429, Type="User", Reason=reason)
