"""SageMaker notebook instances' lifecycle configurations: the scripts that run when an instance is made or started."""

from __future__ import annotations

from typing import NoReturn

from ..engines.notebook_instances import LIFECYCLES, decode
from ..errors import refuse
from ..gateway import Params, Request, operation
from ..paging import page
from ..store import Document, Exists, Missing
from ..tags import from_list

PAGE = 10
HOOKS = ("OnCreate", "OnStart")
KEYS = {"Name": "NotebookInstanceLifecycleConfigName"}
SUMMARY = (
    "NotebookInstanceLifecycleConfigName",
    "NotebookInstanceLifecycleConfigArn",
    "CreationTime",
    "LastModifiedTime",
)


@operation("sagemaker", "CreateNotebookInstanceLifecycleConfig")
def create(request: Request, params: Params) -> Params:
    """Check the scripts' encoding and size, and record."""
    name = params["NotebookInstanceLifecycleConfigName"]
    arn, now = request.arn("sagemaker", f"{LIFECYCLES}/{name}"), request.cloud.clock.now()
    check_hooks(params)
    hooks = {hook: params[hook] for hook in HOOKS if params.get(hook)}
    document: Document = {
        "NotebookInstanceLifecycleConfigName": name,
        "NotebookInstanceLifecycleConfigArn": arn,
        **hooks,
        "CreationTime": now,
        "LastModifiedTime": now,
    }
    try:
        request.cloud.store.table(LIFECYCLES).insert(request.region, name, document)
    except Exists:
        refuse(
            "ValidationException",
            f"Unable to create Notebook Instance Lifecycle Config {arn}. (Details: Notebook Instance Lifecycle Config "
            "already exists.)",
        )
    if params.get("Tags"):
        request.cloud.tags.add(arn, from_list(params["Tags"]))
    return {"NotebookInstanceLifecycleConfigArn": arn}


@operation("sagemaker", "DescribeNotebookInstanceLifecycleConfig")
def describe(request: Request, params: Params) -> Params:
    """The scripts as they were given."""
    return find(request, params["NotebookInstanceLifecycleConfigName"], "describe")


@operation("sagemaker", "UpdateNotebookInstanceLifecycleConfig")
def update(request: Request, params: Params) -> Params:
    """Replace the scripts that are given; instances meet them at their next start."""
    name = params["NotebookInstanceLifecycleConfigName"]
    check_hooks(params)
    changed = {hook: params[hook] for hook in HOOKS if hook in params}
    changed["LastModifiedTime"] = request.cloud.clock.now()
    try:
        request.cloud.store.table(LIFECYCLES).update(request.region, name, lambda document: document.update(changed))
    except Missing:
        missing(request, name, "update")
    return {}


@operation("sagemaker", "DeleteNotebookInstanceLifecycleConfig")
def delete(request: Request, params: Params) -> None:
    """Forget the scripts."""
    found = find(request, params["NotebookInstanceLifecycleConfigName"], "delete")
    request.cloud.store.table(LIFECYCLES).delete(request.region, found["NotebookInstanceLifecycleConfigName"])
    request.cloud.tags.forget(found["NotebookInstanceLifecycleConfigArn"])


@operation("sagemaker", "ListNotebookInstanceLifecycleConfigs")
def list_all(request: Request, params: Params) -> Params:
    """Summaries of the region's configurations: filtered, sorted, in pages."""
    found = [
        one
        for one in request.cloud.store.table(LIFECYCLES).list(request.region)
        if params.get("NameContains", "") in one["NotebookInstanceLifecycleConfigName"] and is_of_time(one, params)
    ]
    by = str(params.get("SortBy", "CreationTime"))
    found.sort(key=lambda one: one[KEYS.get(by, by)], reverse=params.get("SortOrder") == "Descending")
    size = params.get("MaxResults", PAGE)
    shown, token = page(found, "NotebookInstanceLifecycleConfigName", params.get("NextToken"), size)
    summaries = [{member: one[member] for member in SUMMARY} for one in shown]
    return {"NotebookInstanceLifecycleConfigs": summaries, "NextToken": token}


def find(request: Request, name: str, what: str) -> Document:
    """The configuration; raises AWS's error for ``what`` (describe, delete) cannot be done without it."""
    return request.cloud.store.table(LIFECYCLES).find(request.region, name) or missing(request, name, what)


def missing(request: Request, name: str, what: str) -> NoReturn:
    """Raise AWS's error for a configuration that is not there."""
    arn = request.arn("sagemaker", f"{LIFECYCLES}/{name}")
    refuse(
        "ValidationException",
        f"Unable to {what} Notebook Instance Lifecycle Config '{arn}'. (Details: Notebook Instance Lifecycle Config "
        "does not exist.)",
    )


def check_hooks(params: Params) -> None:
    """A script is base64, at most 16,384 characters of it (which the model checks, too)."""
    for hook in HOOKS:
        for one in params.get(hook) or []:
            if decode(one.get("Content", "")) is None:
                refuse("ValidationException", f"The content of {hook} is not base64-encoded text.")


def is_of_time(document: Document, params: Params) -> bool:
    """Whether a document was created and modified when a list's filters say."""
    return all(
        (params.get(f"{member}After") is None or document[member] > params[f"{member}After"])
        and (params.get(f"{member}Before") is None or document[member] < params[f"{member}Before"])
        for member in ("CreationTime", "LastModifiedTime")
    )
