"""Who may do what with a Lambda function (its resource policy), and its tags."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

from ..engines.functions import names
from ..engines.functions.documents import Document, check_revision
from ..engines.functions.faults import invalid, refuse
from ..engines.functions.names import LATEST, FunctionReference
from ..errors import NotImplementedHere
from ..gateway import Params, Request, operation
from .function_requests import resolve

MAX_TAGS = 50
MAX_POLICY = 20_480
ACCOUNT = re.compile(r"\d{12}")
Statement = dict[str, Any]


@operation("lambda", "AddPermission")
def add_permission(request: Request, params: Params) -> Params:
    """Add a statement to the policy of a function, a version or an alias."""
    reference, documents = resolve(request, params), request.cloud.functions.documents
    if reference.qualifier == LATEST:
        invalid("We currently do not support adding policies for $LATEST.")
    statement = _statement(request, reference, params)

    def add(document: Document) -> None:
        documents.version_of(request.region, reference, document)
        policy = document["policies"].setdefault(reference.qualifier or "", {"statements": [], "revision": None})
        check_revision(params.get("RevisionId"), policy["revision"], "GetPolicy")
        if any(one["Sid"] == statement["Sid"] for one in policy["statements"]):
            refuse(
                "ResourceConflictException",
                f"The statement id ({statement['Sid']}) provided already exists. "
                "Please provide a new statement id, or remove the existing statement.",
                409,
            )
        policy |= {"statements": [*policy["statements"], statement], "revision": str(uuid.uuid4())}
        if len(_rendered(policy)) > MAX_POLICY:
            refuse("PolicyLengthExceededException", f"The final policy size is bigger than the limit ({MAX_POLICY}).")

    documents.update(request.region, reference.name, add)
    return {"Statement": json.dumps(statement, separators=(",", ":"))}


@operation("lambda", "GetPolicy")
def get_policy(request: Request, params: Params) -> Params:
    """The resource policy, as JSON text."""
    reference = resolve(request, params)
    document = request.cloud.functions.documents.find(request.region, reference.name)
    policy = document["policies"].get(reference.qualifier or "")
    if not policy or not policy["statements"]:
        refuse("ResourceNotFoundException", "The resource you requested does not exist.", 404)
    return {"Policy": _rendered(policy), "RevisionId": policy["revision"]}


@operation("lambda", "RemovePermission")
def remove_permission(request: Request, params: Params) -> None:
    """Remove one statement from the resource policy."""
    reference, sid = resolve(request, params), params["StatementId"]

    def remove(document: Document) -> None:
        policy = document["policies"].get(reference.qualifier or "")
        if not policy or not policy["statements"]:
            refuse("ResourceNotFoundException", "No policy is associated with the given resource.", 404)
        check_revision(params.get("RevisionId"), policy["revision"], "GetPolicy")
        kept = [one for one in policy["statements"] if one["Sid"] != sid]
        if len(kept) == len(policy["statements"]):
            refuse("ResourceNotFoundException", f"Statement {sid} is not found in resource policy.", 404)
        policy |= {"statements": kept, "revision": str(uuid.uuid4())}

    request.cloud.functions.documents.update(request.region, reference.name, remove)


@operation("lambda", "ListTags")
def list_tags(request: Request, params: Params) -> Params:
    """The tags of a function."""
    return {"Tags": request.cloud.tags.of(_tagged(request, params))}


@operation("lambda", "TagResource")
def tag_resource(request: Request, params: Params) -> None:
    """Add tags to a function."""
    arn = _tagged(request, params)
    if not params["Tags"]:
        invalid("An error occurred and the request cannot be processed.")
    if len({**request.cloud.tags.of(arn), **params["Tags"]}) > MAX_TAGS:
        invalid("Number of tags exceeds resource tag limit.")
    request.cloud.tags.add(arn, params["Tags"])


@operation("lambda", "UntagResource")
def untag_resource(request: Request, params: Params) -> None:
    """Remove tags from a function."""
    request.cloud.tags.remove(_tagged(request, params), params["TagKeys"])


def _tagged(request: Request, params: Params) -> str:
    """The ARN of the function whose tags a request is about; it must be there."""
    if ":function:" not in params["Resource"]:
        raise NotImplementedHere("tags of Lambda resources that are not functions")
    reference = names.resolve(params["Resource"], None, request.region, request.account)
    if reference.qualifier is not None:
        invalid("Tags on function aliases and versions are not supported. Please specify a function ARN.")
    request.cloud.functions.documents.find(request.region, reference.name)
    return request.cloud.functions.documents.arn(request.region, reference.name)


def _statement(request: Request, reference: FunctionReference, params: Params) -> Statement:
    if params.get("FunctionUrlAuthType") or params.get("InvokedViaFunctionUrl"):
        raise NotImplementedHere("permissions for function URLs")
    statement: Statement = {
        "Sid": params["StatementId"],
        "Effect": "Allow",
        "Principal": _principal(params["Principal"]),
        "Action": params["Action"],
        "Resource": request.cloud.functions.documents.arn(request.region, reference.name, reference.qualifier),
    }
    condition = _condition(params)
    return statement | ({"Condition": condition} if condition else {})


def _principal(given: str) -> str | dict[str, str]:
    if given == "*":
        return given
    if ACCOUNT.fullmatch(given):
        return {"AWS": f"arn:aws:iam::{given}:root"}
    if given.startswith("arn:"):
        return {"AWS": given}
    if not given.endswith((".amazonaws.com", ".amazon.com")):
        invalid("The provided principal was invalid. Please check the principal and try again.")
    return {"Service": given}


def _condition(params: Params) -> dict[str, dict[str, str]]:
    equals = {
        "AWS:SourceAccount": params.get("SourceAccount"),
        "aws:PrincipalOrgID": params.get("PrincipalOrgID"),
        "lambda:EventSourceToken": params.get("EventSourceToken"),
    }
    condition = {"StringEquals": {key: value for key, value in equals.items() if value}}
    if params.get("SourceArn"):
        condition["ArnLike"] = {"AWS:SourceArn": params["SourceArn"]}
    return {operator: keys for operator, keys in condition.items() if keys}


def _rendered(policy: dict[str, Any]) -> str:
    document = {"Version": "2012-10-17", "Id": "default", "Statement": policy["statements"]}
    return json.dumps(document, separators=(",", ":"))
