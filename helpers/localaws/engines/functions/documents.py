"""What is remembered of functions: one document each, with its versions, aliases, policies and reservation.

An update takes effect a moment after it was asked for (``settles``, a time); until then the function is ``Pending``, or
its update ``InProgress`` and invocations run what it was before. So the states need no thread that turns them, and are
right again after a crash.
"""

from __future__ import annotations

import copy
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from ...store import Exists, Missing, Store, Table
from ..clock import Clock
from .faults import not_found, refuse
from .names import LATEST, FunctionReference, function_arn, is_version
from .routing import Route, route_of

SETTLE_SECONDS = 1.0
# AWS answers these when a function is asked for by itself, and leaves them out of lists.
NOT_LISTED = frozenset(
    "State StateReason StateReasonCode LastUpdateStatus LastUpdateStatusReason LastUpdateStatusReasonCode "
    "RuntimeVersionConfig".split()
)

Document = dict[str, Any]
Configuration = dict[str, Any]


class Functions:
    """The functions of the account, by region and name."""

    def __init__(self, store: Store, clock: Clock, account: str) -> None:
        self._store, self._clock, self._account = store, clock, account
        self._table: Table = store.table("function")

    def create(self, region: str, configuration: Configuration) -> Document:
        """Remember a new function; raises ``ResourceConflictException`` where the name is taken."""
        document = {
            "latest": configuration,
            "previous": None,
            "versions": {},
            "published": 0,
            "aliases": {},
            "policies": {},
            "reserved": None,
            "provisioned": {},
            **self.settling(),
        }
        try:
            self._table.insert(region, configuration["FunctionName"], document)
        except Exists:
            refuse("ResourceConflictException", f"Function already exist: {configuration['FunctionName']}", 409)
        return document

    def peek(self, region: str, name: str) -> Document | None:
        """A function's document, None where there is no such function."""
        return self._table.find(region, name)

    def find(self, region: str, name: str) -> Document:
        """A function's document; raises ``ResourceNotFoundException``."""
        document = self._table.find(region, name)
        if document is None:
            not_found(self.arn(region, name))
        return document

    def update(self, region: str, name: str, change: Callable[[Document], None]) -> Document:
        """Change a function's document as one step; raises ``ResourceNotFoundException``."""
        try:
            return self._table.update(region, name, change)
        except Missing:
            not_found(self.arn(region, name))

    def replace_latest(
        self, region: str, name: str, revision: str | None, change: Callable[[Configuration], None]
    ) -> Document:
        """Give ``$LATEST`` a new configuration, which takes effect when it settles.

        Raises ``ResourceConflictException`` while it is being created or updated, ``PreconditionFailedException`` where
        ``revision`` is not its present one.
        """

        def apply(document: Document) -> None:
            self.check_settled(region, name, document)
            check_revision(revision, document["latest"]["RevisionId"], "GetFunction/GetAlias")
            changed = copy.deepcopy(document["latest"])
            change(changed)
            changed |= {"LastModified": modified_now(), "RevisionId": str(uuid.uuid4())}
            document |= {"previous": document["latest"], "latest": changed, **self.settling()}

        return self.update(region, name, apply)

    def delete(self, region: str, name: str) -> None:
        """Forget a function and everything that hangs on it."""
        self._table.delete(region, name)

    def list(self, region: str) -> list[Document]:
        """Every function of a region, by name."""
        return self._table.list(region)

    def everywhere(self) -> Iterator[tuple[str, str, Document]]:
        """Every function of every region, as (region, name, document)."""
        return self._table.everywhere()

    def arn(self, region: str, name: str, qualifier: str | None = None) -> str:
        """A function's ARN."""
        return function_arn(region, self._account, name, qualifier)

    # ---- versions ----

    def version_of(self, region: str, reference: FunctionReference, document: Document) -> str:
        """The version that a reference means; raises ``ResourceNotFoundException``."""
        qualifier = reference.qualifier or LATEST
        if qualifier == LATEST or qualifier in document["versions"]:
            return qualifier
        if qualifier not in document["aliases"]:
            not_found(self.arn(region, reference.name, qualifier))
        version: str = document["aliases"][qualifier]["FunctionVersion"]
        return version

    def route(self, region: str, reference: FunctionReference, document: Document) -> Route:
        """The versions that invocations of a reference go to; raises ``ResourceNotFoundException``."""
        version = self.version_of(region, reference, document)
        alias = document["aliases"].get(reference.qualifier or "")
        return {version: 1.0} if alias is None else route_of(alias)

    def configuration(self, region: str, reference: FunctionReference, document: Document) -> Configuration:
        """The configuration of what a reference means, with its ARN and state, as it is described."""
        version = self.version_of(region, reference, document)
        described = dict(document["latest"] if version == LATEST else document["versions"][version])
        qualifier = reference.qualifier if not is_version(reference.qualifier) else version
        described["FunctionArn"] = self.arn(region, reference.name, qualifier)
        return described | (self.state(document) if version == LATEST else {**ACTIVE})

    def effective(self, document: Document, version: str) -> Configuration:
        """The configuration that an invocation runs now: until an update settles, what was there before it."""
        if version != LATEST:
            published: Configuration = document["versions"][version]
            return published
        pending = document["previous"] is not None and not settled(document)
        latest: Configuration = document["previous"] if pending else document["latest"]
        return latest

    # ---- states ----

    def settling(self) -> Document:
        """The members of a document that say when what is changed now takes effect."""
        return {"settles": time.time() + SETTLE_SECONDS / self._clock.scale}

    def state(self, document: Document) -> Configuration:
        """The State and LastUpdateStatus of ``$LATEST``."""
        if settled(document):
            return {**ACTIVE}
        if document["previous"] is None:
            return {**PENDING}
        return {"State": "Active", **UPDATING}

    def check_settled(self, region: str, name: str, document: Document) -> None:
        """Raise ``ResourceConflictException`` while ``$LATEST`` is being created or updated."""
        self.check_created(document)
        if not settled(document):
            arn = self.arn(region, name)
            refuse(
                "ResourceConflictException",
                f"The operation cannot be performed at this time. An update is in progress for resource: {arn}",
                409,
            )

    def check_created(self, document: Document) -> None:
        """Raise ``ResourceConflictException`` while the function is being created."""
        if document["previous"] is None and not settled(document):
            refuse(
                "ResourceConflictException",
                "The operation cannot be performed at this time. The function is currently in the following state: "
                "Pending",
                409,
            )


ACTIVE = {"State": "Active", "LastUpdateStatus": "Successful"}
PENDING = {"State": "Pending", "StateReason": "The function is being created.", "StateReasonCode": "Creating"}
UPDATING = {
    "LastUpdateStatus": "InProgress",
    "LastUpdateStatusReason": "The function is being created.",
    "LastUpdateStatusReasonCode": "Creating",
}


def settled(document: Document) -> bool:
    """Whether the last change has taken effect."""
    return time.time() >= float(document["settles"])


def check_revision(given: str | None, present: str, operation: str) -> None:
    """Raise ``PreconditionFailedException`` where a revision is given that is not the present one."""
    if given is not None and given != present:
        refuse(
            "PreconditionFailedException",
            "The Revision Id provided does not match the latest Revision Id. "
            f"Call the {operation} API to retrieve the latest Revision Id",
            412,
        )


def modified_now() -> str:
    """The present moment as ``LastModified`` has it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"


def listed(configuration: Configuration) -> Configuration:
    """A configuration as lists show it."""
    return {name: value for name, value in configuration.items() if name not in NOT_LISTED}
