"""Asynchronous invocations: a queue that survives a crash, and the tries that Lambda gives each event.

See https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html: after an error a second try a
minute later and a third two minutes after that; a throttled event is tried again for six hours, ever less often.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ...errors import AwsError
from ...store import Store
from ..clock import Clock
from .agenda import Agenda

log = logging.getLogger(__name__)

RETRY_SECONDS = (60.0, 120.0)
BACKOFF_SECONDS = (1.0, 300.0)  # the first wait of a throttled event, and the longest
MAX_AGE_SECONDS = 6 * 3600.0
AT_ONCE = 32
LATER = frozenset({"TooManyRequestsException", "ResourceConflictException"})

Event = dict[str, Any]
# Handles one try: True when the function failed. Raises AwsError where it could not be invoked.
Handler = Callable[[Event], bool]


class Events:
    """Events that wait for their function."""

    def __init__(self, store: Store, clock: Clock, agenda: Agenda, handler: Handler) -> None:
        self._table = store.table("function-event")
        self._clock, self._agenda, self._handler = clock, agenda, handler
        self._workers = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="function event")
        self._closed = False

    def put(self, region: str, event: Event) -> None:
        """Take in an event, durably; its first try begins at once."""
        event |= {"id": uuid.uuid4().hex, "region": region, "tries": 0, "throttles": 0, "since": time.time()}
        self._table.insert(region, event["id"], event)
        self._begin(event)

    def recover(self) -> None:
        """Take up the events that a server before this one had not finished."""
        for _, _, event in list(self._table.everywhere()):
            self._begin(event)

    def close(self) -> None:
        """Begin no more tries; what is left is taken up by the next start."""
        self._closed = True
        self._workers.shutdown(wait=False, cancel_futures=True)

    def _begin(self, event: Event) -> None:
        if not self._closed:
            self._workers.submit(self._try, event)

    def _try(self, event: Event) -> None:
        refused: AwsError | None = None
        try:
            failed = self._handler(event)
        except AwsError as error:
            refused = error
        except Exception:
            log.exception("an event of %s failed here", event["name"])
            failed = True
        if self._closed:
            # It was the server that ended this try, not the function: the next start tries it again.
            return
        if refused is not None:
            self._postpone(event, refused)
            return
        event["tries"] += 1
        if failed and event["tries"] <= len(RETRY_SECONDS):
            self._again(event, RETRY_SECONDS[event["tries"] - 1])
        else:
            self._table.delete(event["region"], event["id"])

    def _postpone(self, event: Event, error: AwsError) -> None:
        """The function could not be invoked: throttled or being created, and later it can; or it is gone."""
        age = (time.time() - event["since"]) * self._clock.scale
        if error.code not in LATER or age > MAX_AGE_SECONDS:
            log.warning("an event of %s is dropped: %s", event["name"], error)
            self._table.delete(event["region"], event["id"])
            return
        first, longest = BACKOFF_SECONDS
        wait = min(first * 2.0 ** event["throttles"], longest)
        event["throttles"] += 1
        self._again(event, wait)

    def _again(self, event: Event, seconds: float) -> None:
        self._table.put(event["region"], event["id"], event)
        self._agenda.after(seconds, lambda: self._begin(event))
