"""Lists that come in pages."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from .errors import AwsError
from .store import Document


def page(
    documents: Sequence[Document], name: str, token: str | None, size: int, refusal: str = "ValidationException"
) -> tuple[Sequence[Document], str | None]:
    """One page of ``documents`` and the token of the next, if there is one.

    The token names the page's last document (its member ``name``), so that documents made meanwhile shift nothing.
    Raises the error ``refusal`` for a token that is not of this list.
    """
    names = [document[name] for document in documents]
    try:
        start = names.index(base64.urlsafe_b64decode(token).decode()) + 1 if token else 0
    except ValueError as error:
        raise AwsError(refusal, "Invalid NextToken: it does not belong to this list.") from error
    end = start + size
    following = base64.urlsafe_b64encode(names[end - 1].encode()).decode() if end < len(names) else None
    return documents[start:end], following
