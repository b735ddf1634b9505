"""All that is provisioned: kept as the documents of the functions say."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from ...errors import AwsError
from .agenda import Agenda
from .concurrency import Concurrency
from .documents import Document, Functions
from .environment import Environment
from .faults import invalid, refuse
from .names import LATEST, FunctionReference, is_version
from .provisioned import Provisioned
from .routing import Route, route_of, shares
from .spec import Spec

AT_ONCE = 8
RENEW_SECONDS = 60.0

Key = tuple[str, str, str]  # region, function, version or alias


class Provisions:
    """What the versions and aliases of the account's functions have provisioned."""

    def __init__(
        self,
        documents: Functions,
        concurrency: Concurrency,
        make: Callable[[Spec], Environment],
        spec_of: Callable[[str, Document, str], Spec],
        agenda: Agenda,
        time_scale: float,
    ) -> None:
        self._documents, self._concurrency = documents, concurrency
        self._make, self._spec_of = make, spec_of
        self._agenda, self._renew_after = agenda, RENEW_SECONDS * time_scale  # credentials end in real time
        self._workers = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="function provisioning")
        self._lock = threading.RLock()
        self._all: dict[Key, Provisioned] = {}
        self._renewing = self._closed = False

    def find(self, region: str, name: str, qualifier: str | None) -> Provisioned | None:
        """What a version or an alias has provisioned, or None."""
        with self._lock:
            return self._all.get((region, name, qualifier or ""))

    def follow(self, region: str, name: str) -> None:
        """Have what the document of a function says now; of a function that is gone, nothing."""
        with self._lock:
            if self._closed:
                return
            document = self._document(region, name)
            wanted = (document or {}).get("provisioned", {})
            counts = {qualifier: one["requested"] for qualifier, one in wanted.items()}
            self._concurrency.restore_provisioned((region, name), counts)
            gone = [key for key in self._all if key[:2] == (region, name) and key[2] not in counts]
            closed = [self._all.pop(key) for key in gone]
            for qualifier, count in counts.items():
                self._want(region, name, document or {}, qualifier, count)
        for one in closed:
            one.close()

    def count(self) -> int:
        """How many environments there are."""
        with self._lock:
            return sum(one.standing().allocated for one in self._all.values())

    def close(self) -> None:
        """End every environment, now."""
        with self._lock:
            self._closed = True
            left = list(self._all.values())
        for one in left:
            one.kill()
        self._workers.shutdown(wait=False, cancel_futures=True)

    def _document(self, region: str, name: str) -> Document | None:
        try:
            return self._documents.find(region, name)
        except AwsError:
            return None

    def _want(self, region: str, name: str, document: Document, qualifier: str, count: int) -> None:
        versions = shares(self._documents.route(region, FunctionReference(name, qualifier), document), count)
        found = self._all.setdefault((region, name, qualifier), Provisioned(self._make, self._workers))
        found.want({self._spec_of(region, document, version): part for version, part in versions.items()})
        if not self._renewing:
            self._renewing = True
            self._agenda.after(self._renew_after, self._renew)

    def _renew(self) -> None:
        with self._lock:
            again = self._renewing = bool(self._all) and not self._closed
            every = list(self._all.values())
        for one in every:
            one.renew()
        if again:
            self._agenda.after(self._renew_after, self._renew)


def check_provisionable(document: Document, qualifier: str) -> None:
    """Raise where a version, or an alias with the versions it points at now, cannot have environments provisioned.

    A version's environments are provisioned once: for itself, or for one of the aliases that point at it.
    """
    others = [name for name in document.get("provisioned", {}) if name != qualifier]
    if is_version(qualifier):
        if any(qualifier in _versions(document, name) for name in others):
            refuse("ResourceConflictException", "Version is pointed by a Provisioned Concurrency alias", 409)
        return
    versions = route_of(document["aliases"][qualifier])
    if LATEST in versions:
        invalid("Provisioned Concurrency Configs cannot be applied to unpublished function versions.")
    taken = {version for name in others for version in _versions(document, name)}
    if taken & versions.keys():
        refuse(
            "ResourceConflictException",
            "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version",
            409,
        )


def _versions(document: Document, qualifier: str) -> Route:
    """The versions of an alias, or of a version itself."""
    return {qualifier: 1.0} if is_version(qualifier) else route_of(document["aliases"][qualifier])
