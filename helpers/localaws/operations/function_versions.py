"""Published versions of Lambda functions, and the aliases that point at them."""

from __future__ import annotations

import copy
import uuid

from ..engines.functions.documents import Configuration, Document, check_revision, listed, modified_now
from ..engines.functions.faults import invalid, not_found, refuse
from ..engines.functions.names import LATEST, FunctionReference
from ..engines.functions.provisions import check_provisionable
from ..engines.functions.routing import check_weights
from ..errors import NotImplementedHere
from ..gateway import Params, Request, operation
from .function_requests import page, resolve

# What two versions may differ in and still be the same function.
OWN = frozenset({"Version", "FunctionArn", "RevisionId", "LastModified", "Description"})


@operation("lambda", "PublishVersion")
def publish_version(request: Request, params: Params) -> Params:
    """Make of ``$LATEST`` a version that never changes; without a change since the last one, that one is answered."""
    if params.get("PublishTo"):
        raise NotImplementedHere("publishing to $LATEST.PUBLISHED (PublishTo)")
    reference, documents = resolve(request, params), request.cloud.functions.documents
    document = documents.find(request.region, reference.name)
    documents.check_settled(request.region, reference.name, document)
    latest = document["latest"]
    check_revision(params.get("RevisionId"), latest["RevisionId"], "GetFunction/GetAlias")
    if params.get("CodeSha256") not in (None, latest["CodeSha256"]):
        invalid(
            f"CodeSHA256 ({params['CodeSha256']}) is different from current CodeSHA256 in $LATEST "
            f"({latest['CodeSha256']}). Please try again with the CodeSHA256 in $LATEST."
        )
    return publish(request, reference.name, params.get("Description"))


def publish(request: Request, name: str, description: str | None = None) -> Configuration:
    """Publish ``$LATEST`` of a function, unless its last version is the same; returns the version's configuration."""
    documents = request.cloud.functions.documents

    def add(document: Document) -> None:
        if not _unchanged(document):
            number = str(document["published"] + 1)
            document["published"] += 1
            document["versions"][number] = _frozen(document["latest"], number, description)

    document = documents.update(request.region, name, add)
    return documents.configuration(request.region, FunctionReference(name, str(document["published"])), document)


@operation("lambda", "ListVersionsByFunction")
def list_versions_by_function(request: Request, params: Params) -> Params:
    """``$LATEST`` and every published version."""
    reference, documents = resolve(request, params), request.cloud.functions.documents
    document = documents.find(request.region, reference.name)
    qualifiers = [LATEST, *sorted(document["versions"], key=int)]
    references = [FunctionReference(reference.name, qualifier) for qualifier in qualifiers]
    found = [listed(documents.configuration(request.region, one, document)) for one in references]
    return page(found, params, "Versions")


@operation("lambda", "CreateAlias")
def create_alias(request: Request, params: Params) -> Params:
    """A name for a version."""
    reference, name = resolve(request, params), params["Name"]
    alias = {
        "Name": name,
        "AliasArn": request.cloud.functions.documents.arn(request.region, reference.name, name),
        "FunctionVersion": params["FunctionVersion"],
        "Description": params.get("Description", ""),
        "RevisionId": str(uuid.uuid4()),
        **_routing(params),
    }

    def add(document: Document) -> None:
        _check_versions(request, reference.name, document, alias)
        if name in document["aliases"]:
            refuse("ResourceConflictException", f"Alias already exists: {alias['AliasArn']}", 409)
        document["aliases"][name] = alias

    request.cloud.functions.documents.update(request.region, reference.name, add)
    return alias


@operation("lambda", "GetAlias")
def get_alias(request: Request, params: Params) -> Params:
    """What an alias points at."""
    reference = resolve(request, params)
    document = request.cloud.functions.documents.find(request.region, reference.name)
    return _alias(request, reference.name, document, params["Name"])


@operation("lambda", "ListAliases")
def list_aliases(request: Request, params: Params) -> Params:
    """Every alias of a function, or those that point at one version."""
    reference, version = resolve(request, params), params.get("FunctionVersion")
    document = request.cloud.functions.documents.find(request.region, reference.name)
    found = [document["aliases"][name] for name in sorted(document["aliases"])]
    return page([one for one in found if version in (None, one["FunctionVersion"])], params, "Aliases")


@operation("lambda", "UpdateAlias")
def update_alias(request: Request, params: Params) -> Params:
    """Point an alias at another version, or divide its invocations between two."""
    reference, name = resolve(request, params), params["Name"]
    changes: Params = {member: params[member] for member in ("FunctionVersion", "Description") if member in params}

    def change(document: Document) -> None:
        alias = _alias(request, reference.name, document, name)
        check_revision(params.get("RevisionId"), alias["RevisionId"], "GetFunction/GetAlias")
        if "RoutingConfig" in params:
            alias.pop("RoutingConfig", None)
        alias.update(changes, RevisionId=str(uuid.uuid4()), **_routing(params))
        _check_versions(request, reference.name, document, alias)
        if name in document.get("provisioned", {}):
            check_provisionable(document, name)

    document = request.cloud.functions.documents.update(request.region, reference.name, change)
    if name in document.get("provisioned", {}):
        request.cloud.functions.provisions.follow(request.region, reference.name)
    return _alias(request, reference.name, document, name)


@operation("lambda", "DeleteAlias")
def delete_alias(request: Request, params: Params) -> None:
    """Remove an alias; one that is not there is no error, as on AWS."""
    reference, name = resolve(request, params), params["Name"]

    def remove(document: Document) -> None:
        document["aliases"].pop(name, None)
        document["policies"].pop(name, None)
        document.get("provisioned", {}).pop(name, None)

    request.cloud.functions.documents.update(request.region, reference.name, remove)
    request.cloud.functions.provisions.follow(request.region, reference.name)


def _unchanged(document: Document) -> bool:
    """Whether ``$LATEST`` is what was published last."""
    last = document["versions"].get(str(document["published"]))
    return last is not None and _essence(last) == _essence(document["latest"])


def _essence(configuration: Configuration) -> Configuration:
    return {member: value for member, value in configuration.items() if member not in OWN}


def _frozen(latest: Configuration, number: str, description: str | None) -> Configuration:
    frozen = copy.deepcopy(latest)
    if description is not None:
        frozen["Description"] = description
    own = {"Version": number, "FunctionArn": f"{latest['FunctionArn']}:{number}"}
    return frozen | own | {"RevisionId": str(uuid.uuid4()), "LastModified": modified_now()}


def _alias(request: Request, function: str, document: Document, name: str) -> Params:
    found: Params | None = document["aliases"].get(name)
    if found is None:
        arn = request.cloud.functions.documents.arn(request.region, function, name)
        refuse("ResourceNotFoundException", f"Cannot find alias arn: {arn}", 404)
    return found


def _check_versions(request: Request, function: str, document: Document, alias: Params) -> None:
    """Raise where an alias points at what is not there, or cannot be pointed at."""
    weights = alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
    check_weights(alias["FunctionVersion"], weights)
    for version in (alias["FunctionVersion"], *weights):
        if version != LATEST and version not in document["versions"]:
            not_found(request.cloud.functions.documents.arn(request.region, function, version))


def _routing(params: Params) -> Params:
    weights = params.get("RoutingConfig", {}).get("AdditionalVersionWeights")
    return {"RoutingConfig": {"AdditionalVersionWeights": weights}} if weights else {}
