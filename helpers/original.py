"""The original project's function, to be seen failing: deployed under a name of its own for as long as it is looked at.

What it does wrong is in ``original_function/lambda_function.py``; ``lambda/lambda_function.py`` is what to do instead.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import functions
from .cloud import Cloud

SOURCE = Path(__file__).with_name("original_function")


@contextlib.contextmanager
def deployed(cloud: Cloud, role: str) -> Iterator[str]:
    """The function's name, while it is there; ``role`` is an ARN. Function and log are deleted at the end.

    Raises ``ClientError`` for what AWS would not take.
    """
    client, name = cloud.client("lambda"), f"{cloud.settings.function_name}-original"
    try:
        functions.deploy(
            client, name, SOURCE, handler="lambda_function.lambda_handler", role=role, tags=cloud.settings.tags
        )
        yield name
    finally:
        functions.delete(client, name)
        _delete_log(cloud.client("logs"), f"/aws/lambda/{name}")


def ask(cloud: Cloud, role: str, url: str) -> dict[str, Any]:
    """What the original's function answers to ``{"url": url}``; where the fetching itself fails, Lambda's error."""
    with deployed(cloud, role) as name:
        answer: dict[str, Any] = functions.invoke(cloud.client("lambda"), name, {"url": url}).payload
    return answer


def _delete_log(logs: Any, group: str) -> None:
    with contextlib.suppress(logs.exceptions.ResourceNotFoundException):
        logs.delete_log_group(logGroupName=group)
