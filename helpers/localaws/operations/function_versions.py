"""Published versions of Lambda functions, and the aliases that point at them."""

from __future__ import annotations

import copy
import uuid

from ..engines.functions.documents import Configuration, Document, check_revision, listed, modified_now
from ..engines.functions.faults import invalid, not_found, refuse
from ..engines.functions.names import LATEST, FunctionReference
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
    _refuse_weights(params)
    reference, name = resolve(request, params), params["Name"]
    alias = {
        "Name": name,
        "AliasArn": request.cloud.functions.documents.arn(request.region, reference.name, name),
        "FunctionVersion": params["FunctionVersion"],
        "Description": params.get("Description", ""),
        "RevisionId": str(uuid.uuid4()),
    }

    def add(document: Document) -> None:
        _check_version(request, reference.name, document, alias["FunctionVersion"])
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
    """Point an alias at another version."""
    _refuse_weights(params)
    reference, name = resolve(request, params), params["Name"]
    changes: Params = {member: params[member] for member in ("FunctionVersion", "Description") if member in params}

    def change(document: Document) -> None:
        alias = _alias(request, reference.name, document, name)
        check_revision(params.get("RevisionId"), alias["RevisionId"], "GetFunction/GetAlias")
        if "FunctionVersion" in changes:
            _check_version(request, reference.name, document, changes["FunctionVersion"])
        alias.update(changes, RevisionId=str(uuid.uuid4()))

    document = request.cloud.functions.documents.update(request.region, reference.name, change)
    return _alias(request, reference.name, document, name)


@operation("lambda", "DeleteAlias")
def delete_alias(request: Request, params: Params) -> None:
    """Remove an alias; one that is not there is no error, as on AWS."""
    reference, name = resolve(request, params), params["Name"]

    def remove(document: Document) -> None:
        document["aliases"].pop(name, None)
        document["policies"].pop(name, None)

    request.cloud.functions.documents.update(request.region, reference.name, remove)


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


def _check_version(request: Request, function: str, document: Document, version: str) -> None:
    if version != LATEST and version not in document["versions"]:
        not_found(request.cloud.functions.documents.arn(request.region, function, version))


def _refuse_weights(params: Params) -> None:
    if params.get("RoutingConfig", {}).get("AdditionalVersionWeights"):
        raise NotImplementedHere("aliases of several versions (RoutingConfig)", "An alias points at one version here.")
