"""Errors as AWS answers them: a code, a message, and now and then members of the modelled error shape."""

from __future__ import annotations

from typing import Any, NoReturn


class AwsError(Exception):
    """An error that goes back to the client in its service's own shape.

    ``status`` is used only where the service's model does not fix the HTTP status of ``code``;
    ``members`` are further members of the error (``Reason`` of a throttle, ``OriginalStatusCode`` of a ModelError).
    """

    def __init__(self, code: str, message: str, status: int = 400, **members: Any) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status, self.members = code, message, status, members


class NotImplementedHere(AwsError):
    """The embedded AWS does not know this operation (or this use of it), and says so instead of pretending."""

    def __init__(self, what: str, why: str = "") -> None:
        message = f"The embedded AWS does not implement {what}." + (f" {why}" if why else "")
        # 501 is the one 5xx that no AWS client retries.
        super().__init__("NotImplemented", message, status=501)


def refuse(code: str, message: str, **members: Any) -> NoReturn:
    """Raise the AWS error ``code``; reads better than ``raise`` inside an expression."""
    raise AwsError(code, message, **members)
