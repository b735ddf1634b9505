"""Members of a request that ask for what is not done here: refused by name, rather than taken and forgotten."""

from __future__ import annotations

from typing import Any

from ..errors import NotImplementedHere
from ..gateway import Params


def refuse_not_done(params: Params, table: dict[str, str], where: str) -> None:
    """Raise :class:`NotImplementedHere` for the first member of ``table`` that ``params`` asks for.

    ``table`` has advice by dotted path (``ResourceConfig.TrainingPlanArn``); ``where`` is the operation or its part.
    """
    for path, advice in table.items():
        if member(params, path):
            raise NotImplementedHere(f"{where} with {path}", advice)


def member(params: Params, path: str) -> Any:
    """The member at a dotted path; None where there is none."""
    value: Any = params
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value
