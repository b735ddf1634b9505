"""InvokeEndpoint: the request as it came to one instance, and its answer, or AWS's error, back."""

from __future__ import annotations

import time
from typing import NoReturn

from ..engines.hosting.endpoint import Endpoint
from ..engines.hosting.instance import Instance
from ..engines.hosting.metrics import Invocation
from ..engines.hosting.model_client import ModelGone, ModelTimeout, ModelUnreachable, Reply
from ..engines.hosting.variant import NoInstance, UnknownSession, Variant
from ..errors import AwsError
from ..gateway import Params, Request, operation
from .hosting_input import NOT_DONE_IN_INVOCATION
from .not_done import refuse_not_done

LIMIT_SECONDS = 60.0
MOMENT = 0.5
SHOWN = 4096
HEADERS = {
    "ContentType": "Content-Type",
    "Accept": "Accept",
    "CustomAttributes": "X-Amzn-SageMaker-Custom-Attributes",
    "InferenceId": "X-Amzn-SageMaker-Inference-Id",
    "SessionId": "X-Amzn-SageMaker-Session-Id",
}
ANSWERED = {
    "ContentType": "Content-Type",
    "CustomAttributes": "X-Amzn-SageMaker-Custom-Attributes",
    "NewSessionId": "X-Amzn-SageMaker-New-Session-Id",
    "ClosedSessionId": "X-Amzn-SageMaker-Closed-Session-Id",
}
TIMED_OUT = (
    "Your invocation timed out while waiting for a response from container primary. Review the latency metrics for "
    "each container in Amazon CloudWatch, resolve the issue, and try again."
)
BROKEN = "The connection to container primary broke before it had answered: {}. Its instance may have failed."
NO_INSTANCE = "A transient exception occurred while retrieving variant instances. Please try again later."


@operation("sagemaker-runtime", "InvokeEndpoint")
def invoke_endpoint(request: Request, params: Params) -> Params:
    """Route by variant and to the least busy instance; the body goes through unchanged, both ways."""
    started = time.perf_counter()
    refuse_not_done(params, NOT_DONE_IN_INVOCATION, "InvokeEndpoint")
    endpoint = _endpoint(request, params["EndpointName"])
    try:
        variant, reply = _answer(request, params, started, endpoint)
    except NoInstance as error:
        raise AwsError("ServiceUnavailable", NO_INSTANCE, 503) from error
    except UnknownSession as error:
        raise AwsError("ValidationError", f"Session {error} not found on endpoint {endpoint.name}.") from error
    if not 200 <= reply.status < 300:
        _model_error(request, endpoint.name, reply.status, reply.body.decode(errors="replace")[:SHOWN])
    answer = {member: reply.header(header) for member, header in ANSWERED.items()}
    return {"Body": reply.body, "InvokedProductionVariant": variant.name, **answer}


def _endpoint(request: Request, name: str) -> Endpoint:
    endpoint = request.cloud.hosting.find(request.region, name)
    if endpoint is not None and endpoint.accepts:
        return endpoint
    document = request.cloud.store.table("endpoint").find(request.region, name)
    # AWS's runtime knows no endpoint before it is in service; what it leaves out is said.
    why = f" Its status is {document['EndpointStatus']}, not InService." if document is not None else ""
    raise AwsError("ValidationError", f"Endpoint {name} of account {request.account} not found.{why}")


def _answer(request: Request, params: Params, started: float, endpoint: Endpoint) -> tuple[Variant, Reply]:
    """Ask a variant; where an update takes it away before it has an instance for the request, one of the new fleet."""
    while True:
        variant = _variant(endpoint, params.get("TargetVariant"))
        try:
            return variant, _route(request, params, started, variant)
        except NoInstance:
            if variant in endpoint.variants.values():
                raise


def _variant(endpoint: Endpoint, target: str | None) -> Variant:
    try:
        return endpoint.choose(target)
    except KeyError as error:
        raise AwsError("ValidationError", f"Variant {target} not found for endpoint {endpoint.name}.") from error


def _route(request: Request, params: Params, started: float, variant: Variant) -> Reply:
    """Ask the least busy instance; where it turns out to be gone, which it takes a moment to notice, the next."""
    gone: list[Instance] = []
    while True:
        with variant.lease(params.get("SessionId"), gone) as instance:
            try:
                reply = _ask(request, params, started, variant, instance)
            except ModelGone:
                gone.append(instance)
                continue
            sessions = [reply.header(ANSWERED[member]) for member in ("NewSessionId", "ClosedSessionId")]
            variant.note_session(sessions[0], sessions[1], instance)
            return reply


def _ask(request: Request, params: Params, started: float, variant: Variant, instance: Instance) -> Reply:
    headers = {header: params[member] for member, header in HEADERS.items() if params.get(member)}
    sent = time.perf_counter()

    def note(status: int) -> None:
        model_seconds = time.perf_counter() - sent
        variant.metrics.note(Invocation(status, model_seconds, sent - started, len(variant.instances)))

    try:
        reply = instance.client.request("POST", "/invocations", params.get("Body", b""), headers, LIMIT_SECONDS)
    except ModelGone:
        raise
    except (ModelTimeout, ModelUnreachable) as error:
        note(0)
        if not isinstance(error, ModelTimeout):
            # It is most likely dying: by the time the client asks again, it should not be chosen any more.
            instance.await_end(MOMENT)
        message = TIMED_OUT if isinstance(error, ModelTimeout) else BROKEN.format(error)
        _model_error(request, params["EndpointName"], 0, message)
    note(reply.status)
    return reply


def _model_error(request: Request, endpoint: str, status: int, message: str) -> NoReturn:
    whose = "client" if 400 <= status < 500 else "server"
    region, group = request.region, f"/aws/sagemaker/Endpoints/{endpoint}"
    page = f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#logEventViewer:group={group}"
    raise AwsError(
        "ModelError",
        f'Received {whose} error ({status}) from primary with message "{message}". See {page} in account '
        f"{request.account} for more information.",
        424,
        OriginalStatusCode=status,
        OriginalMessage=message,
        LogStreamArn=request.arn("logs", f"log-group:{group}"),
    )
