"""Lambda functions: create, describe, update, delete. What runs them is in ``engines/functions``."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from ..engines.functions import configuration as settings
from ..engines.functions.documents import (
    PENDING,
    UPDATING,
    Configuration,
    Document,
    check_revision,
    listed,
    modified_now,
)
from ..engines.functions.engine import SERVICE
from ..engines.functions.faults import invalid, not_found, refuse
from ..engines.functions.names import LATEST, FunctionReference
from ..engines.functions.routing import route_of
from ..errors import AwsError, NotImplementedHere
from ..gateway import Params, Request, operation
from ..objects import S3Uri
from .function_requests import page, resolve
from .function_versions import publish


@operation("lambda", "CreateFunction")
def create_function(request: Request, params: Params) -> Params:
    """Create a function; it is Pending for a moment, then Active."""
    reference, functions = resolve(request, params), request.cloud.functions
    settings.check(params)
    if not params.get("Runtime") or not params.get("Handler"):
        invalid("Runtime and Handler are mandatory parameters for functions created with deployment packages.")
    _check_role(request, params)
    arn = functions.documents.arn(request.region, reference.name)
    created = settings.defaults(reference.name) | {"FunctionArn": arn}
    settings.apply(created, params, request.region)
    created |= {"LastModified": modified_now(), "RevisionId": str(uuid.uuid4())}
    with functions.packages:
        _take_code(request, created, params["Code"])
        functions.documents.create(request.region, created)
    if params.get("Tags"):
        request.cloud.tags.add(arn, params["Tags"])
    described = created | PENDING  # as it was made, however long ago that is by now
    if params.get("Publish"):
        described["Version"] = publish(request, reference.name)["Version"]
    return described


@operation("lambda", "GetFunction")
def get_function(request: Request, params: Params) -> Params:
    """A function's configuration, where its package can be fetched, its tags and its reserved concurrency."""
    functions, reference = request.cloud.functions, resolve(request, params)
    document = functions.documents.find(request.region, reference.name)
    described = functions.documents.configuration(request.region, reference, document)
    location = functions.code_location(described["CodeSha256"])
    tags = request.cloud.tags.of(functions.documents.arn(request.region, reference.name))
    return {
        "Configuration": described,
        "Code": {"RepositoryType": "S3", "Location": location},
        "Tags": tags or None,
        "Concurrency": _concurrency(document),
    }


@operation("lambda", "GetFunctionConfiguration")
def get_function_configuration(request: Request, params: Params) -> Params:
    """A function's (or a version's, or an alias's) configuration."""
    functions, reference = request.cloud.functions, resolve(request, params)
    document = functions.documents.find(request.region, reference.name)
    return functions.documents.configuration(request.region, reference, document)


@operation("lambda", "ListFunctions")
def list_functions(request: Request, params: Params) -> Params:
    """Every function, or with ``FunctionVersion=ALL`` every version of each."""
    if params.get("MasterRegion"):
        raise NotImplementedHere("functions at the edge (MasterRegion)")
    found: list[Configuration] = []
    for document in request.cloud.functions.documents.list(request.region):
        found += _versions(document) if params.get("FunctionVersion") == "ALL" else [document["latest"]]
    return page([listed(one) for one in found], params, "Functions")


@operation("lambda", "UpdateFunctionCode")
def update_function_code(request: Request, params: Params) -> Params:
    """Give ``$LATEST`` another package."""
    settings.check({member: params.get(member) for member in ("PublishTo",)} | {"Code": params})
    _check_latest(request, params)
    functions, reference = request.cloud.functions, resolve(request, params)
    document = functions.documents.find(request.region, reference.name)
    functions.documents.check_settled(request.region, reference.name, document)
    changed: Configuration = {**document["latest"]}
    check_revision(params.get("RevisionId"), changed["RevisionId"], "GetFunction/GetAlias")
    with functions.packages:
        _take_code(request, changed, params)
        taken = {member: changed[member] for member in ("CodeSha256", "CodeSize")}
        if params.get("Architectures"):
            taken["Architectures"] = params["Architectures"]
        if params.get("DryRun"):
            return changed | taken | functions.documents.state(document)
        return _replace(request, params, lambda latest: latest.update(taken))


@operation("lambda", "UpdateFunctionConfiguration")
def update_function_configuration(request: Request, params: Params) -> Params:
    """Change the configuration of ``$LATEST``; what is not given stays as it is."""
    settings.check(params)
    _check_latest(request, params)
    if params.get("Role"):
        _check_role(request, params)
    return _replace(request, params, lambda latest: settings.apply(latest, params, request.region))


@operation("lambda", "DeleteFunction")
def delete_function(request: Request, params: Params) -> Params:
    """Delete a function, or with a qualifier one version of it; environments at work finish their event."""
    functions, reference = request.cloud.functions, resolve(request, params)
    document = functions.documents.find(request.region, reference.name)
    if reference.qualifier is not None:
        _delete_version(request, reference, document)
    else:
        functions.documents.delete(request.region, reference.name)
        functions.concurrency.restore((request.region, reference.name), None)
        request.cloud.tags.forget(functions.documents.arn(request.region, reference.name))
    functions.forget(request.region, reference.name, reference.qualifier)
    functions.collect_code()
    return {"StatusCode": 204}


def _replace(request: Request, params: Params, change: Callable[[Configuration], None]) -> Params:
    functions, reference = request.cloud.functions, resolve(request, params)
    document = functions.documents.replace_latest(request.region, reference.name, params.get("RevisionId"), change)
    described: Params = document["latest"] | {"State": "Active"} | UPDATING
    if params.get("Publish"):
        published = publish(request, reference.name)
        described |= {"Version": published["Version"], "FunctionArn": published["FunctionArn"]}
    return described


def _versions(document: Document) -> list[Configuration]:
    return [document["latest"], *document["versions"].values()]


def _concurrency(document: Document) -> Params | None:
    reserved = document["reserved"]
    return None if reserved is None else {"ReservedConcurrentExecutions": reserved}


def _check_latest(request: Request, params: Params) -> None:
    """Only ``$LATEST`` can be changed."""
    qualifier = resolve(request, params).qualifier
    if qualifier not in (None, LATEST):
        invalid(f"This operation does not permit specifying a function alias or version: {qualifier}")


def _check_role(request: Request, params: Params) -> None:
    arn = request.cloud.functions.documents.arn(request.region, resolve(request, params).name)
    if request.cloud.credentials.check_trust(params["Role"], SERVICE, arn):
        invalid("The role defined for the function cannot be assumed by Lambda.")


def _take_code(request: Request, configuration: Configuration, code: Params) -> None:
    """Keep the package of a request, and write down in the configuration which it is."""
    archive = _fetch(request, code)
    configuration["CodeSha256"] = request.cloud.functions.code.keep(archive)
    configuration["CodeSize"] = len(archive)


def _fetch(request: Request, code: Params) -> bytes:
    for member in ("S3ObjectVersion", "SourceKMSKeyArn"):
        if code.get(member):
            raise NotImplementedHere(f"packages by {member}")
    if code.get("S3ObjectStorageMode", "COPY") != "COPY":
        raise NotImplementedHere("packages that stay in S3 (S3ObjectStorageMode)")
    given = code.get("ZipFile")
    if given is not None:
        if code.get("S3Bucket") or code.get("S3Key"):
            invalid("Please do not provide other FunctionCode parameters when providing a ZipFile.")
        archive: bytes = given
        return archive
    if not code.get("S3Bucket") or not code.get("S3Key"):
        invalid("Please provide a source for function code.")
    return _fetch_object(request, S3Uri(code["S3Bucket"], code["S3Key"]))


def _fetch_object(request: Request, uri: S3Uri) -> bytes:
    try:
        return request.cloud.objects.read(uri)
    except AwsError as error:
        said = "bucket does not exist" if error.code == "NoSuchBucket" else "key does not exist."
        detail = f"S3 Error Code: {error.code}. S3 Error Message: The specified {said}"
        invalid(f"Error occurred while GetObject. {detail}")


def _delete_version(request: Request, reference: FunctionReference, document: Document) -> None:
    qualifier = reference.qualifier or LATEST
    if qualifier == LATEST:
        invalid("$LATEST version cannot be deleted without deleting the function.")
    if qualifier in document["aliases"]:
        invalid(f"Deletion of aliases is not currently supported. Use DeleteAlias for {qualifier}.")
    if qualifier not in document["versions"]:
        not_found(request.cloud.functions.documents.arn(request.region, reference.name, qualifier))
    users = [name for name, alias in document["aliases"].items() if qualifier in route_of(alias)]
    if users:
        arn = request.cloud.functions.documents.arn(request.region, reference.name, qualifier)
        refuse("ResourceConflictException", f"The version {arn} is referenced by aliases: {', '.join(users)}", 409)

    def remove(changed: Document) -> None:
        changed["versions"].pop(qualifier, None)
        changed.get("provisioned", {}).pop(qualifier, None)

    request.cloud.functions.documents.update(request.region, reference.name, remove)
