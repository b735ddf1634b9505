"""IAM's policy simulator: the same evaluation that every request goes through, asked in advance.

https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..errors import NotImplementedHere, refuse
from ..gateway import Params, Request, operation
from ..identities import Caller
from ..policy import Context, Decision, Document, Policies, PolicyError, Principal, Statement, decide, parse

Result = dict[str, Any]


@operation("iam", "SimulatePrincipalPolicy")
def simulate_principal_policy(request: Request, params: Params) -> Params:
    """What a user's, group's or role's policies (and further ones) say to actions on resources."""
    caller = request.cloud.authorization.identities.named(params["PolicySourceArn"])
    if caller is None:
        refuse("NoSuchEntity", f"The entity {params['PolicySourceArn']} cannot be found.", status=404)
    further = _documents(params.get("PolicyInputList"))
    boundary = _documents(params.get("PermissionsBoundaryPolicyInputList")) or caller.policies.boundary
    policies = replace(caller.policies, identity=(*caller.policies.identity, *further), boundary=boundary)
    return _simulate(params, caller, policies)


@operation("iam", "SimulateCustomPolicy")
def simulate_custom_policy(request: Request, params: Params) -> Params:
    """What policies that nobody has yet would say."""
    policies = Policies(
        identity=_documents(params["PolicyInputList"]),
        boundary=_documents(params.get("PermissionsBoundaryPolicyInputList")) or None,
    )
    return _simulate(params, Caller("User", principal=Principal(request.account)), policies)


def _simulate(params: Params, caller: Caller, policies: Policies) -> Params:
    for name in ("ResourceHandlingOption", "ResourceOwner"):
        if params.get(name):
            raise NotImplementedHere(f"simulations with {name}")
    if params.get("ResourcePolicy"):
        policies = replace(policies, resource=_documents([params["ResourcePolicy"]], "resource"))
        if params.get("CallerArn"):
            account = params["CallerArn"].split(":")[4]
            caller = replace(caller, principal=Principal(account, params["CallerArn"]))
    results = [
        _result(caller, action, resource, _context(caller, params), policies)
        for action in params["ActionNames"]
        for resource in params.get("ResourceArns") or ["*"]
    ]
    return {"EvaluationResults": results, "IsTruncated": False}


def _context(caller: Caller, params: Params) -> Context:
    given = {
        entry["ContextKeyName"]: entry.get("ContextKeyValues", [])
        for entry in params.get("ContextEntries") or []
        if "ContextKeyName" in entry
    }
    return Context(caller.context() | given, every_key=True)


def _result(caller: Caller, action: str, resource: str, context: Context, policies: Policies) -> Result:
    decision = decide(caller.principal, action, resource, context, policies)
    found: Result = {
        "EvalActionName": action,
        "EvalResourceName": resource,
        "EvalDecision": _word(decision),
        "MatchedStatements": [_statement(document, one) for document, one in decision.matched],
        "MissingContextValues": sorted(context.missing),
    }
    if policies.boundary is not None:
        limited = decide(caller.principal, action, resource, context, Policies(identity=policies.boundary))
        found["PermissionsBoundaryDecisionDetail"] = {"AllowedByPermissionsBoundary": limited.allowed}
    return found


def _word(decision: Decision) -> str:
    if decision.allowed:
        return "allowed"
    return "explicitDeny" if decision.explicit else "implicitDeny"


def _statement(document: Document, statement: Statement) -> Result:
    return {
        "SourcePolicyId": statement.sid or "PolicyInputList.1",
        "SourcePolicyType": "IAM Policy",
        "StartPosition": _position(document.text, statement.start),
        "EndPosition": _position(document.text, statement.end),
    }


def _position(text: str, offset: int) -> dict[str, int]:
    return {"Line": text.count("\n", 0, offset) + 1, "Column": offset - (text.rfind("\n", 0, offset) + 1) + 1}


def _documents(texts: list[str] | None, kind: str = "identity") -> tuple[Document, ...]:
    try:
        return tuple(parse(text, kind) for text in texts or [])
    except PolicyError as error:
        refuse("InvalidInput", f"Invalid Entity: {error}")
