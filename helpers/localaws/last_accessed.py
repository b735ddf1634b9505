"""When each user and role was last allowed to do what: noted in memory, written within a second, kept over restarts.

https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_last-accessed.html
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from .store import Store

log = logging.getLogger(__name__)

SAVE_SECONDS = 1.0
# Users and roles are of no region.
EVERYWHERE = ""


@dataclass(frozen=True)
class Access:
    """The last use of an action; ``region`` is None where a service acted for the role, inside the cloud."""

    at: datetime
    region: str | None


class LastAccessed:
    """The last use of every action by every user and role, by their ARNs. Safe to use from many threads."""

    def __init__(self, store: Store) -> None:
        self._table = store.table("last-accessed")
        self._lock = threading.Lock()
        self._unsaved: set[str] = set()
        self._stopping = threading.Event()
        self._found: dict[str, dict[str, Access]] = {
            arn: {action: Access(*seen) for action, seen in document.items()}
            for _, arn, document in self._table.everywhere()
        }
        self._saver = threading.Thread(target=self._save_growing, name="last-accessed", daemon=True)
        self._saver.start()

    def note(self, arn: str, actions: Iterable[str], region: str | None) -> None:
        """A user or a role has just been allowed these actions; nobody (an empty ARN) is not noted."""
        if not arn:
            return
        access = Access(datetime.now(UTC), region)
        with self._lock:
            self._found.setdefault(arn, {}).update(dict.fromkeys(actions, access))
            self._unsaved.add(arn)

    def of(self, arn: str, since: datetime) -> dict[str, Access]:
        """What a user or a role did from ``since`` on: earlier uses are those of a deleted one of the same name."""
        with self._lock:
            return {action: access for action, access in self._found.get(arn, {}).items() if access.at >= since}

    def close(self) -> None:
        """Write what is unwritten, and stop."""
        self._stopping.set()
        self._saver.join()
        self._save()

    def _save_growing(self) -> None:
        while not self._stopping.wait(SAVE_SECONDS):
            try:
                self._save()
            except Exception:  # the disk is full, say: next time there may be room
                log.exception("last uses could not be saved")

    def _save(self) -> None:
        with self._lock:
            changed = {arn: dict(self._found[arn]) for arn in self._unsaved}
            self._unsaved.clear()
        try:
            for arn, actions in changed.items():
                self._table.put(EVERYWHERE, arn, {action: [one.at, one.region] for action, one in actions.items()})
        except BaseException:
            with self._lock:
                self._unsaved.update(changed)
            raise


__all__ = ["Access", "LastAccessed"]
