"""How many invocations of Lambda functions may run at once, and how many have an environment that waits for them."""

from __future__ import annotations

from datetime import UTC, datetime

from ..engines.functions.concurrency import MACHINE_LIMIT
from ..engines.functions.documents import Document
from ..engines.functions.faults import invalid, refuse
from ..engines.functions.names import LATEST, FunctionReference
from ..engines.functions.provisions import check_provisionable
from ..errors import NotImplementedHere
from ..gateway import Params, Request, operation
from .function_requests import page, resolve

CODE_STORAGE = 80_530_636_800

# ---- of the account ----


@operation("lambda", "GetAccountSettings")
def get_account_settings(request: Request, _: Params) -> Params:
    """The account's limits in the region, and how much of them is used."""
    functions = request.cloud.functions
    found = functions.documents.list(request.region)
    return {
        "AccountLimit": {
            "TotalCodeSize": CODE_STORAGE,
            "CodeSizeUnzipped": 262_144_000,
            "CodeSizeZipped": 52_428_800,
            "ConcurrentExecutions": functions.concurrency.limit(request.region),
            "UnreservedConcurrentExecutions": functions.concurrency.unreserved(request.region),
        },
        "AccountUsage": {
            "TotalCodeSize": sum(_code_size(document) for document in found),
            "FunctionCount": len(found),
        },
    }


def _code_size(document: Document) -> int:
    return sum(one["CodeSize"] for one in (document["latest"], *document["versions"].values()))


# ---- reserved ----


@operation("lambda", "PutFunctionConcurrency")
def put_function_concurrency(request: Request, params: Params) -> Params:
    """Keep a part of the account's concurrency for a function, which is then its limit too; 0 stops it."""
    reference, wanted = resolve(request, params), params["ReservedConcurrentExecutions"]
    documents = request.cloud.functions.documents
    documents.find(request.region, reference.name)
    request.cloud.functions.concurrency.reserve((request.region, reference.name), wanted)
    documents.update(request.region, reference.name, lambda document: document.update(reserved=wanted))
    return {"ReservedConcurrentExecutions": wanted}


@operation("lambda", "GetFunctionConcurrency")
def get_function_concurrency(request: Request, params: Params) -> Params:
    """A function's reserved concurrency; empty where it has none."""
    document = request.cloud.functions.documents.find(request.region, resolve(request, params).name)
    return {"ReservedConcurrentExecutions": document["reserved"]}


@operation("lambda", "DeleteFunctionConcurrency")
def delete_function_concurrency(request: Request, params: Params) -> None:
    """Give a function's reserved concurrency back."""
    reference = resolve(request, params)
    request.cloud.functions.documents.update(
        request.region, reference.name, lambda document: document.update(reserved=None)
    )
    request.cloud.functions.concurrency.restore((request.region, reference.name), None)


# ---- provisioned ----


@operation("lambda", "PutProvisionedConcurrencyConfig")
def put_provisioned_concurrency_config(request: Request, params: Params) -> Params:
    """Have so many environments of a version or an alias initialised beforehand; they are started now."""
    wanted = params["ProvisionedConcurrentExecutions"]
    if params["Qualifier"] == LATEST:
        invalid("Provisioned Concurrency Configs cannot be applied to unpublished function versions.")
    functions, reference = request.cloud.functions, resolve(request, params)
    qualifier = params["Qualifier"]
    document = _document_of(request, reference)
    check_provisionable(document, qualifier)
    alias = document["aliases"].get(qualifier, {})
    if alias.get("RoutingConfig"):
        invalid("Alias with weights can not be used with Provisioned Concurrency")
    _check_machine(request, document, qualifier, wanted)
    functions.concurrency.provision((request.region, reference.name), qualifier, wanted)
    modified = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")

    def add(changed: Document) -> None:
        changed.setdefault("provisioned", {})[qualifier] = {"requested": wanted, "modified": modified}

    functions.documents.update(request.region, reference.name, add)
    functions.provisions.follow(request.region, reference.name)
    return {
        "RequestedProvisionedConcurrentExecutions": wanted,
        "AllocatedProvisionedConcurrentExecutions": 0,
        "AvailableProvisionedConcurrentExecutions": 0,
        "Status": "IN_PROGRESS",
        "LastModified": modified,
    }


@operation("lambda", "GetProvisionedConcurrencyConfig")
def get_provisioned_concurrency_config(request: Request, params: Params) -> Params:
    """What a version or an alias has provisioned, and how far that is."""
    reference = resolve(request, params)
    document = _document_of(request, reference)
    return _described(request, reference.name, _config(document, params["Qualifier"]), params["Qualifier"])


@operation("lambda", "ListProvisionedConcurrencyConfigs")
def list_provisioned_concurrency_configs(request: Request, params: Params) -> Params:
    """What all versions and aliases of a function have provisioned."""
    reference, documents = resolve(request, params), request.cloud.functions.documents
    configs = documents.find(request.region, reference.name).get("provisioned", {})
    found = [
        {"FunctionArn": documents.arn(request.region, reference.name, qualifier)}
        | _described(request, reference.name, configs[qualifier], qualifier)
        for qualifier in sorted(configs)
    ]
    return page(found, params, "ProvisionedConcurrencyConfigs")


@operation("lambda", "DeleteProvisionedConcurrencyConfig")
def delete_provisioned_concurrency_config(request: Request, params: Params) -> None:
    """End the environments of a version or an alias; nothing happens where it has none, as on AWS."""
    reference = resolve(request, params)
    _document_of(request, reference)
    functions = request.cloud.functions
    functions.documents.update(
        request.region,
        reference.name,
        lambda document: document.get("provisioned", {}).pop(params["Qualifier"], None),
    )
    functions.provisions.follow(request.region, reference.name)


def _document_of(request: Request, reference: FunctionReference) -> Document:
    """The document of a function that has this version or alias; raises where it has not."""
    documents = request.cloud.functions.documents
    document = documents.find(request.region, reference.name)
    qualifier = reference.qualifier or LATEST
    if not qualifier.isdecimal() and qualifier not in (LATEST, *document["aliases"]):
        arn = documents.arn(request.region, reference.name, qualifier)
        refuse("ResourceNotFoundException", f"Cannot find alias arn: {arn}", 404)
    documents.version_of(request.region, reference, document)
    return document


def _config(document: Document, qualifier: str) -> Document:
    found: Document | None = document.get("provisioned", {}).get(qualifier)
    if found is None:
        refuse(
            "ProvisionedConcurrencyConfigNotFoundException",
            "No Provisioned Concurrency Config found for this function",
            404,
        )
    return found


def _described(request: Request, name: str, config: Document, qualifier: str) -> Params:
    provisioned = request.cloud.functions.provisions.find(request.region, name, qualifier)
    standing = provisioned.standing() if provisioned is not None else None
    return {
        "RequestedProvisionedConcurrentExecutions": config["requested"],
        "AllocatedProvisionedConcurrentExecutions": standing.allocated if standing else 0,
        "AvailableProvisionedConcurrentExecutions": standing.available if standing else 0,
        "Status": standing.status if standing else "IN_PROGRESS",
        "StatusReason": (standing.reason or None) if standing else None,
        "LastModified": config["modified"],
    }


def _check_machine(request: Request, document: Document, qualifier: str, wanted: int) -> None:
    """Environments are processes, which one machine has not room for without end."""
    present = document.get("provisioned", {}).get(qualifier, {}).get("requested", 0)
    if request.cloud.functions.concurrency.provisioned() - present + wanted > MACHINE_LIMIT:
        raise NotImplementedHere(
            f"more than {MACHINE_LIMIT} provisioned environments", "Each is a process of this one machine."
        )
