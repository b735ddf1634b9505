"""Whether a request is its caller's, and whether its caller may: what stands between the gateway and every operation.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from . import faults, permissions, signatures
from .errors import AwsError
from .identities import ANONYMOUS, Caller, Identities
from .last_accessed import LastAccessed
from .permissions import Ask, Need, tags_in
from .policy import Context, Decision, Document, Policies, Principal, decide
from .protocol import Call
from .records import Records
from .signatures import SignatureFault
from .tags import Tags

Environ = dict[str, Any]
# The policy of a resource, by its ARN: who else may do what with it.
ResourcePolicies = Callable[[str], Iterable[Document]]
OURS = frozenset({"sagemaker", "lambda", "ec2"})
TAGS_OF_RESOURCES = ("aws:resourcetag/", "ec2:resourcetag/", "sagemaker:resourcetag/")
TRUSTED_BY_ROLE = frozenset({"sts:AssumeRole", "sts:TagSession"})


class Authorization:
    """Authenticates callers and decides what they may do."""

    def __init__(self, records: Records, tags: Tags, account: str, last_accessed: LastAccessed) -> None:
        self.identities = Identities(records)
        self._records, self._tags, self._account, self._last_accessed = records, tags, account, last_accessed
        self._resource_policies: dict[str, ResourcePolicies] = {}

    def add_resource_policies(self, service: str, find: ResourcePolicies) -> None:
        """Let the policies of a service's own resources have their say."""
        self._resource_policies[service] = find

    # ---- who ----

    def authenticate(self, call: Call, environ: Environ, body: bytes) -> Caller:
        """Who sent a request; raises its service's error where the signature, the key or its token is not good.

        ``body`` is what came over the wire: it is signed as it was sent, compressed or not.
        """
        try:
            return self._authenticate(call, environ, body)
        except SignatureFault as fault:
            raise faults.not_authentic(call.protocol, fault.kind, fault.message) from fault

    def _authenticate(self, call: Call, environ: Environ, body: bytes) -> Caller:
        signed = signatures.read(environ)
        if signed is None:
            if call.service == "s3":
                return Caller(ANONYMOUS)
            raise SignatureFault("missing")
        key = self.identities.key(signed.access_key)
        if key is None or not key.active:
            raise SignatureFault("unknown key")
        signatures.verify(signed, key.secret, environ, body)
        if key.token is not None and not secrets.compare_digest(key.token, signed.token or ""):
            raise SignatureFault("invalid token")
        if key.expiration is not None and key.expiration < datetime.now(UTC):
            raise SignatureFault("expired token")
        caller = self.identities.owner(key)
        if caller is None:
            raise SignatureFault("unknown key")
        return caller

    # ---- whether ----

    def authorise(self, caller: Caller, call: Call, params: Mapping[str, Any], environ: Environ) -> None:
        """Raise the service's ``AccessDenied`` unless the caller may make this call."""
        ask = Ask(
            call.service,
            call.operation,
            params,
            call.scope.region,
            self._account,
            caller.arn if caller.principal.arn else "",
            self.identities.entity_arn,
            _headers(environ),
        )
        context = Context(_of_request(environ, call) | caller.context() | {"aws:ResourceAccount": self._account})
        tags = tags_in(params)
        if tags:
            context.add({f"aws:RequestTag/{key}": value for key, value in tags.items()} | {"aws:TagKeys": list(tags)})
        needs = permissions.needs(ask)
        for need in needs:
            decision = self.decide(caller, need, context)
            if not decision.allowed:
                raise faults.not_allowed(call.protocol, caller.arn, need.action, need.resource, decision)
        self._last_accessed.note(caller.principal.arn, {need.action for need in needs}, call.scope.region)

    def require(self, role_arn: str, session: str, action: str, resource: str, **context: Any) -> None:
        """Raise ``AccessDenied`` unless a role's policies allow what an engine does on the role's behalf.

        ``context`` has condition keys with an underscore for their colon (``s3_prefix``).
        """
        caller = self.identities.session(role_arn, session)
        if caller is None:
            raise AwsError("AccessDenied", f"The role {role_arn} does not exist.", 403)
        keys = {name.replace("_", ":", 1): value for name, value in context.items()}
        now = datetime.now(UTC)
        keys |= {"aws:CurrentTime": _iso(now), "aws:EpochTime": int(now.timestamp()), "aws:SecureTransport": True}
        keys["aws:PrincipalIsAWSService"] = keys["aws:ViaAWSService"] = False
        decision = self.decide(caller, Need(action, resource), Context(keys | caller.context()))
        if not decision.allowed:
            raise faults.not_allowed("rest-xml", caller.arn, action, resource, decision)
        self._last_accessed.note(role_arn, [action], None)

    def decide(self, caller: Caller, need: Need, context: Context) -> Decision:
        """What the caller's policies and the resource's say to one permission."""
        own = dict(need.context) | self._of_resource(need.resource)
        found = context.extended(own) if own else context
        found.unfilled = () if self._knows_tags(need.resource) else TAGS_OF_RESOURCES
        if need.action.lower() in {one.lower() for one in TRUSTED_BY_ROLE}:
            trust = self.identities.trust(need.resource) or ()
            policies = replace(caller.policies, resource=trust, resource_must_allow=True)
        else:
            policies = replace(caller.policies, resource=tuple(self._policies_of(need.resource)))
        return decide(caller.principal, need.action, need.resource, found, policies)

    def trusts(self, role_arn: str, service: str, source_arn: str | None = None) -> str | None:
        """Why a service (``sagemaker.amazonaws.com``) may not take a role for ``source_arn``; None if it may.

        https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
        """
        trust = self.identities.trust(role_arn)
        if trust is None:
            return "the role does not exist"
        keys = {"aws:SourceAccount": self._account, "aws:SourceArn": source_arn, "aws:PrincipalIsAWSService": True}
        keys |= {"aws:PrincipalServiceName": service, "aws:PrincipalType": "Service"}
        policies = Policies(resource=trust, resource_must_allow=True)
        decision = decide(Principal(service=service), "sts:AssumeRole", role_arn, Context(keys), policies)
        return None if decision.allowed else f"its trust policy does not allow {service}"

    def _policies_of(self, resource: str) -> Iterable[Document]:
        service = resource.split(":", 3)[2] if resource.startswith("arn:") else ""
        find = self._resource_policies.get(service)
        return find(resource) if find else ()

    def _knows_tags(self, resource: str) -> bool:
        """Whether a resource's tags are read here: those of buckets, log groups and moto's other records are not."""
        if resource == "*":
            return True
        if resource.count(":") < 5:
            return False
        _, _, service, region, _ = resource.split(":", 4)
        return service in OURS or bool(region and self._tags.of(resource))

    def _ec2_tags(self, resource: str) -> dict[str, str]:
        """moto keeps the tags of EC2's resources by their ids, whatever kind they are."""
        region, identifier = resource.split(":")[3], resource.rpartition("/")[2]
        with self._records.lock("ec2"):
            return dict(self._records.backend("ec2", region).tags.get(identifier, {}))

    def _of_resource(self, resource: str) -> dict[str, str]:
        """``aws:ResourceTag/…`` of the resources whose tags are ours."""
        if resource.count(":") < 5 or not resource.split(":")[3]:
            return {}
        prefix = {"ec2": "ec2", "sagemaker": "sagemaker"}.get(resource.split(":")[2])
        found = self._ec2_tags(resource) if prefix == "ec2" else self._tags.of(resource)
        keys = {f"aws:ResourceTag/{key}": value for key, value in found.items()}
        return keys | ({f"{prefix}:ResourceTag/{key}": value for key, value in found.items()} if prefix else {})


def _of_request(environ: Environ, call: Call) -> dict[str, Any]:
    """The condition keys that are about the request itself."""
    now = datetime.now(UTC)
    return {
        "aws:CurrentTime": _iso(now),
        "aws:EpochTime": int(now.timestamp()),
        "aws:RequestedRegion": call.scope.region,
        # Loopback stands for TLS: nothing leaves the machine, and policies that ask for TLS are the same on AWS.
        "aws:SecureTransport": True,
        "aws:SourceIp": environ.get("REMOTE_ADDR") or "127.0.0.1",
        "aws:UserAgent": environ.get("HTTP_USER_AGENT"),
        "aws:Referer": environ.get("HTTP_REFERER"),
        "aws:ViaAWSService": False,
        "aws:PrincipalIsAWSService": False,
        "s3:authType": "REST-HEADER" if "HTTP_AUTHORIZATION" in environ else "REST-QUERY-STRING",
    }


def _headers(environ: Environ) -> dict[str, str]:
    return {name[5:].lower().replace("_", "-"): value for name, value in environ.items() if name.startswith("HTTP_X_")}


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


__all__ = ["Authorization"]
