"""Invoke Lambda functions."""

from __future__ import annotations

import base64
import json

from ..engines.functions.faults import refuse
from ..errors import NotImplementedHere
from ..gateway import Params, Request, operation
from .function_requests import resolve

MAX_PAYLOAD = {"RequestResponse": 6_291_456, "Event": 1_048_576, "DryRun": 6_291_456}
MAX_CLIENT_CONTEXT = 3583
LOG_TAIL = 4096


@operation("lambda", "Invoke")
def invoke(request: Request, params: Params) -> Params:
    """Run a function and wait for it, or have it run (``Event``), or only ask whether one could (``DryRun``)."""
    for member in ("DurableExecutionName", "TenantId"):
        if params.get(member):
            raise NotImplementedHere(f"invocations with {member}")
    kind, payload = params.get("InvocationType", "RequestResponse"), params.get("Payload") or b"{}"
    reference, functions = resolve(request, params), request.cloud.functions
    target = functions.target(request.region, reference)
    _check_payload(kind, payload)
    context = _client_context(params.get("ClientContext"))
    if kind == "DryRun":
        return {"StatusCode": 204}
    if kind == "Event":
        functions.queue(request.region, reference, payload, context)
        return {"StatusCode": 202}
    outcome = functions.invoke(target, payload, context, request.request_id)
    tail = outcome.log.encode()[-LOG_TAIL:]
    return {
        "StatusCode": 200,
        "FunctionError": outcome.function_error,
        "LogResult": base64.b64encode(tail).decode() if params.get("LogType") == "Tail" else None,
        "ExecutedVersion": target.spec.version,
        "Payload": outcome.payload,
    }


def _check_payload(kind: str, payload: bytes) -> None:
    limit = MAX_PAYLOAD[kind]
    if len(payload) > limit:
        message = f"{len(payload)} byte payload is too large for the {kind} invocation type (limit {limit} bytes)"
        # The model calls it RequestTooLargeException; on the wire AWS says this.
        refuse("RequestEntityTooLargeException", message, 413)
    try:
        json.loads(payload)
    except ValueError as error:
        refuse(
            "InvalidRequestContentException",
            f"Could not parse request body into json: Could not parse payload into json: {error}",
        )


def _client_context(given: str | None) -> str | None:
    """The client's context as the runtime gets it: one line of JSON."""
    if not given:
        return None
    try:
        decoded = json.loads(base64.b64decode(given, validate=True))
    except ValueError:
        refuse("InvalidRequestContentException", "Client context must be a valid Base64-encoded JSON object.")
    if len(given) > MAX_CLIENT_CONTEXT or not isinstance(decoded, dict):
        refuse("InvalidRequestContentException", "Client context must be a valid Base64-encoded JSON object.")
    return json.dumps(decoded)
