"""The way of one request: match the operation → validate against the model → our operation, or moto, or a refusal.

An operation is a function ``(request, params) -> result`` registered with :func:`operation`; ``params`` and ``result``
are the members of the model's input and output shapes.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from . import given_policies, origins, protocol, records
from .errors import AwsError, NotImplementedHere
from .identities import Caller
from .protocol import Call, Response
from .recording import Recorder
from .validation import validate

if TYPE_CHECKING:
    from .cloud import Cloud

log = logging.getLogger(__name__)

Params = dict[str, Any]
Result = dict[str, Any] | None
Operation = Callable[["Request", Params], Result]
OPERATIONS: dict[tuple[str, str], Operation] = {}
MAX_BODY = 1 << 30
INNER = "/_localaws/"  # addresses that are no service's
OF_OBJECTS = frozenset({("s3", "GetObject"), ("s3", "HeadObject")})


@dataclass(frozen=True)
class Request:
    """What an operation knows of the request besides its input."""

    cloud: Cloud
    service: str
    operation: str
    region: str
    account: str
    access_key: str
    request_id: str

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a resource in the request's region and account."""
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"


def operation(service: str, *names: str) -> Callable[[Operation], Operation]:
    """Register a function as what answers these operations of a service."""

    def register(function: Operation) -> Operation:
        for name in names:
            OPERATIONS[service, name] = function
        return function

    return register


class Gateway:
    """The WSGI application of the embedded AWS."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self._recorder = Recorder.of_environment()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """One WSGI request."""
        response = self.respond(environ)
        headers = [(name, value) for name, value in response.headers if name.lower() != "content-length"]
        if isinstance(response.body, bytes):
            # HEAD's Content-Length is that of the object, which only its own answer knows.
            length = next((v for n, v in response.headers if n.lower() == "content-length"), str(len(response.body)))
            if response.body or environ["REQUEST_METHOD"] != "HEAD":
                length = str(len(response.body))
            headers.append(("Content-Length", length))
        start_response(response.status_line, headers)
        return [response.body] if isinstance(response.body, bytes) else response.body

    def respond(self, environ: dict[str, Any]) -> Response:
        """Answer one request; every failure becomes an AWS error."""
        stranger = origins.refusal(environ)
        if stranger:
            return stranger
        call, caller, request_id = None, None, str(uuid.uuid4())
        try:
            if environ["PATH_INFO"].startswith(INNER):
                return self.cloud.answer_internal(environ)
            body = _read(environ)
            call = protocol.match(environ, body)
            caller = self.cloud.authorization.authenticate(call, environ, body)
            response = self._answer(call, caller, environ, request_id)
        except AwsError as error:
            response = protocol.render_error(call, error, request_id)
        except Exception as error:
            log.exception("%s failed", f"{call.service}:{call.operation}" if call else _shown(environ["PATH_INFO"]))
            failure = AwsError("InternalFailure", f"{type(error).__name__}: {error}", 500)
            response = protocol.render_error(call, failure, request_id)
        if self._recorder and not environ["PATH_INFO"].startswith(INNER):
            self._recorder.note(call, caller, environ, response)
        return response

    def _answer(self, call: Call, caller: Caller, environ: dict[str, Any], request_id: str) -> Response:
        ours = OPERATIONS.get((call.service, call.operation))
        if ours is None and not records.answers(call.service, call.operation):
            raise NotImplementedHere(f"{call.service}:{call.operation}")
        params = protocol.parse(call)
        if ours is not None or call.protocol == "json" or call.service in ("iam", "sts"):
            validate(call.service, call.model.input_shape, params)
        self.cloud.authorization.authorise(caller, call, params, environ)
        if ours is None:
            given_policies.check(call, params)
            response = self._answer_from_records(call, environ)
            if response.status == 404 and (call.service, call.operation) in OF_OBJECTS:
                # That an object is not there is told only to who may list its bucket; to others it is forbidden.
                listing, bucket = replace(call, operation="ListObjectsV2"), {"Bucket": params["Bucket"]}
                self.cloud.authorization.authorise(caller, listing, bucket, environ)
            return response
        params = protocol.decode(call.model.input_shape, params)
        request = Request(
            self.cloud,
            call.service,
            call.operation,
            call.scope.region,
            self.cloud.account,
            call.scope.access_key,
            request_id,
        )
        return protocol.render(call, ours(request, params) or {}, request_id)

    def _answer_from_records(self, call: Call, environ: dict[str, Any]) -> Response:
        if call.service == "s3":
            # What nobody signed has been allowed by a bucket's policy; moto would ask the object's ACL again.
            scope = f"authorised/20260101/{call.scope.region}/s3/aws4_request"
            environ = {"HTTP_AUTHORIZATION": f"AWS4-HMAC-SHA256 Credential={scope}"} | environ
        status, headers, body = self.cloud.records.answer(
            call.service, call.operation, call.scope.region, environ, call.body, call.uri
        )
        return Response(int(status.split()[0]), headers, body)


def _shown(path: str) -> str:
    """A path as the log may have it: the inner addresses hold secrets."""
    return "/".join(path.split("/")[:3]) if path.startswith(INNER) else path


def _read(environ: dict[str, Any]) -> bytes:
    """The request's body, no more of it than is taken. Raises ``AwsError`` for one that is larger, or cut short."""
    chunked = "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower()
    stated = environ.get("CONTENT_LENGTH") or "0"
    if not chunked and not (stated.isascii() and stated.isdigit()):
        raise AwsError("MalformedRequest", "The request's Content-Length is not a number of bytes.", 400)
    if not chunked and int(stated) > MAX_BODY:
        raise AwsError("EntityTooLarge", f"Your request of {stated} bytes exceeds the maximum of {MAX_BODY}.", 413)
    try:
        body: bytes = environ["wsgi.input"].read(MAX_BODY + 1 if chunked else int(stated))
    except ValueError as error:
        raise AwsError("MalformedRequest", f"The request's chunks make no sense: {error}", 400) from error
    if len(body) > MAX_BODY:
        raise AwsError("EntityTooLarge", f"Your request exceeds the maximum of {MAX_BODY} bytes.", 413)
    if not chunked and len(body) < int(stated):
        raise AwsError("IncompleteBody", f"The request's body ends after {len(body)} of {stated} bytes.", 400)
    return body
