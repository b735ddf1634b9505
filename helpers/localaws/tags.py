"""Tags of the resources that the embedded AWS answers for itself, by ARN."""

from __future__ import annotations

from .store import Store


class Tags:
    """Keys and values by ARN, kept in the store."""

    def __init__(self, store: Store) -> None:
        self._store, self._table = store, store.table("tags")

    def of(self, arn: str) -> dict[str, str]:
        """The tags of a resource; empty where it has none."""
        return self._table.find(_region(arn), arn) or {}

    def add(self, arn: str, tags: dict[str, str]) -> None:
        """Add tags, or replace the values of those that are there."""
        with self._store.locked():
            self._table.put(_region(arn), arn, {**self.of(arn), **tags})

    def remove(self, arn: str, keys: list[str]) -> None:
        """Remove some of a resource's tags; keys it does not have are no error, as on AWS."""
        with self._store.locked():
            left = {key: value for key, value in self.of(arn).items() if key not in keys}
            self._table.put(_region(arn), arn, left)

    def forget(self, arn: str) -> None:
        """Remove everything that is kept of a resource; for when it is deleted."""
        self._table.delete(_region(arn), arn)

    def everything(self, region: str) -> dict[str, dict[str, str]]:
        """Tags by ARN, of every tagged resource of a region."""
        return {arn: tags for where, arn, tags in self._table.everywhere() if where == region}


def from_list(tags: list[dict[str, str]] | None) -> dict[str, str]:
    """From the form most services use (``[{"Key": …, "Value": …}]``)."""
    return {tag["Key"]: tag["Value"] for tag in tags or []}


def to_list(tags: dict[str, str]) -> list[dict[str, str]]:
    """To the form most services use."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _region(arn: str) -> str:
    return arn.split(":")[3]
