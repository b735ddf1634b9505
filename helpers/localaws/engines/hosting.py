"""hosting."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..cloud import Cloud


class HostingEngine:
    """hosting."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud

    def recover(self) -> None:
        """After a start."""

    def close(self) -> None:
        """Before the end."""
