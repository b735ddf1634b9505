"""An endpoint's record in the store, as the engine changes it.

Besides what DescribeEndpoint tells, it has ``Variants`` (what is deployed, and what is desired of it), ``Deployment``
(the id of that), ``Next`` (what an update is deploying: ``EndpointConfigName``, ``Deployment``, ``Variants``,
``StartTime``) and ``Previous`` (the counts and weights before a change that may have to be taken back).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...store import Document, Table
    from ..clock import Clock

REASON_LENGTH = 1024


@dataclass(frozen=True)
class Record:
    """The record of one endpoint."""

    table: Table
    region: str
    name: str
    clock: Clock

    def read(self) -> Document:
        """A copy of it as it is now."""
        return self.table.get(self.region, self.name)

    def set(self, **members: Any) -> None:
        """Change members; None removes one. The endpoint counts as modified now."""

        def change(document: Document) -> None:
            document.update(members, LastModifiedTime=self.clock.now())
            for member in [name for name, value in members.items() if value is None]:
                document.pop(member)

        self.change(change)

    def fail(self, status: str, reason: str, **members: Any) -> None:
        """Set a status, with the reason why it is not the one that was wanted."""
        self.set(EndpointStatus=status, FailureReason=reason[:REASON_LENGTH], **members)

    def change(self, change: Callable[[Document], None]) -> None:
        """Read, change in place and write, as one step."""
        self.table.update(self.region, self.name, change)


__all__ = ["Record"]
