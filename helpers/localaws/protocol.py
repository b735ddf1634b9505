"""AWS's wire protocols, to and from Python, by the botocore models.

``match`` finds which operation a request is, ``parse`` gives its input as the model's members, ``render`` and
``render_error`` give the HTTP answer. JSON protocols are read and written here; the XML ones by moto's parsers and
serialisers, which follow the same models.
"""

from __future__ import annotations

import base64
import functools
import io
import json
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import botocore.session
from botocore.model import OperationModel, ServiceModel, Shape
from botocore.utils import parse_timestamp
from moto.core.exceptions import ServiceException
from moto.core.model import OperationModel as MotoOperationModel
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request as WireRequest
from moto.core.routing import get_service_router
from moto.core.serialize import XFormedAttributePicker, get_serializer_class
from moto.core.utils import get_service_model as get_moto_model
from werkzeug.exceptions import HTTPException, NotFound

from .errors import AwsError

# Signing names that are not the name of the service's model.
SIGNING_NAMES = {
    "monitoring": "cloudwatch",
    "servicequotas": "service-quotas",
    "tagging": "resourcegroupstaggingapi",
    "elasticloadbalancing": "elbv2",
    "elasticmapreduce": "emr",
    "email": "ses",
    "states": "stepfunctions",
}
MAX_UNZIPPED = 16 << 20
# S3's operations whose body decides what they are about.
XML_INPUT = frozenset({"DeleteObjects"})
_CREDENTIAL = re.compile(r"Credential=(?P<key>[^/,\s]+)/\d+/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")
_STATUS = {200: "OK", 201: "Created", 202: "Accepted", 204: "No Content"}


@dataclass(frozen=True)
class Scope:
    """Who signed for what: the parts of a SigV4 credential scope."""

    access_key: str
    region: str
    service: str


@dataclass(frozen=True)
class Call:
    """One request, matched to its operation."""

    service: str
    operation: str
    model: OperationModel
    scope: Scope
    protocol: str
    wire: WireRequest
    body: bytes
    uri: dict[str, str]


@dataclass
class Response:
    """An HTTP answer; ``body`` may be a stream of chunks."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | Iterable[bytes] = b""

    @property
    def status_line(self) -> str:
        """As WSGI wants it."""
        return f"{self.status} {_STATUS.get(self.status, 'Error')}"


@functools.cache
def service_model(service: str) -> ServiceModel:
    """The botocore model of a service."""
    return botocore.session.get_session().get_service_model(service)


@functools.cache
def known_services() -> frozenset[str]:
    """Every service botocore has a model of."""
    return frozenset(botocore.session.get_session().get_available_services())


def scope_of(environ: dict[str, Any]) -> Scope:
    """The credential scope of a request: from its Authorization header or its presigned query; S3 if it has none."""
    signed = environ.get("HTTP_AUTHORIZATION", "")
    query = parse_qs(environ.get("QUERY_STRING", ""))
    if "X-Amz-Credential" in query:
        signed = f"Credential={query['X-Amz-Credential'][0]}"
    found = _CREDENTIAL.search(signed)
    if found:
        return Scope(found["key"], found["region"], found["service"].lower())
    return Scope("", "us-east-1", "s3")


def match(environ: dict[str, Any], body: bytes) -> Call:
    """Find the operation; raises :class:`AwsError` (``UnknownOperationException``) where there is none."""
    scope = scope_of(environ)
    environ = environ | {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
    environ["RAW_URI"] = environ.get("REQUEST_URI", environ["PATH_INFO"])
    wire = WireRequest(environ)
    service = _service(scope, environ)
    if service not in known_services():
        raise AwsError("UnknownService", f"'{scope.service}' is not a service that botocore knows.", 404)
    model = service_model(service)
    if environ.get("HTTP_CONTENT_ENCODING") == "gzip" and _takes_gzip(service):
        body = _unzip(body)
        wire = WireRequest(environ | {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))})
    protocol, name, uri = _operation(model, wire, environ)
    if name not in model.operation_names:
        raise AwsError("UnknownOperationException", f"{service} has no operation '{name}'.", 404)
    return Call(service, name, model.operation_model(name), scope, protocol, wire, body, uri)


@functools.cache
def _takes_gzip(service: str) -> bool:
    """Whether clients may compress a service's requests (CloudWatch's, not S3's objects that are compressed files)."""
    model = service_model(service)
    return any(model.operation_model(name).request_compression for name in model.operation_names)


def _unzip(body: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        unpacked = unpacker.decompress(body, MAX_UNZIPPED)
    except zlib.error as error:
        raise AwsError("SerializationException", f"The request's body is not gzip: {error}") from error
    if unpacker.unconsumed_tail:
        raise AwsError("RequestEntityTooLarge", f"The request is larger than {MAX_UNZIPPED} bytes unpacked.", 413)
    return unpacked


def _service(scope: Scope, environ: dict[str, Any]) -> str:
    name = SIGNING_NAMES.get(scope.service, scope.service)
    if name == "sagemaker" and "HTTP_X_AMZ_TARGET" not in environ:
        return "sagemaker-metrics" if environ["PATH_INFO"].endswith("/BatchPutMetrics") else "sagemaker-runtime"
    return name


def _operation(model: ServiceModel, wire: WireRequest, environ: dict[str, Any]) -> tuple[str, str, dict[str, str]]:
    """The protocol the client speaks, the operation's name, and the parameters in the path."""
    spoken = model.metadata.get("protocols", [model.metadata["protocol"]])
    target = environ.get("HTTP_X_AMZ_TARGET")
    if target and "json" in spoken:
        return "json", target.rpartition(".")[2], {}
    if "smithy-rpc-v2-cbor" in spoken and environ.get("HTTP_SMITHY_PROTOCOL") == "rpc-v2-cbor":
        raise AwsError(
            "NotImplemented", "The embedded AWS does not speak the CBOR protocol; use a client's JSON one.", 501
        )
    for protocol in ("ec2", "query"):
        if protocol in spoken:
            return protocol, wire.values.get("Action", ""), {}
    try:
        # The body's type says nothing about the route (an endpoint takes any), but moto's router would look at it.
        untyped = WireRequest({**wire.environ, "CONTENT_TYPE": ""})
        operation, uri = get_service_router(model.service_name).match(untyped)
    except (NotFound, HTTPException):
        return spoken[0], f"{wire.method} {wire.path}", {}
    return spoken[0], operation.name, dict(uri)


# ---- input ----


def parse(call: Call, whole: bool = False) -> dict[str, Any]:
    """The operation's input by its model's member names, as JSON has them (blobs and times still text).

    Of S3's input the XML in the body is read only if the ``whole`` is asked for. Call :func:`decode` after validating,
    for ``bytes`` and ``datetime``. Raises ``SerializationException``.
    """
    if call.model.input_shape is None:
        return {}
    if call.protocol == "json":
        params: dict[str, Any] = _by_member(call.model.input_shape, _json(call.body))
        return params
    if call.protocol == "rest-json":
        return _parse_rest(call)
    if call.protocol == "rest-xml" and call.operation not in XML_INPUT and not (whole and _has_xml(call)):
        return _parse_addressed(call)
    return _parse_with_moto(call)


def _has_xml(call: Call) -> bool:
    shape = call.model.input_shape
    payload = shape.serialization.get("payload") if shape is not None else None
    return bool(payload and call.body and shape.members[payload].type_name == "structure")


def _parse_addressed(call: Call) -> dict[str, Any]:
    """Of S3's input, what the path, the query and the headers have: its body (gigabytes, now and then) stays closed."""
    shape = call.model.input_shape
    assert shape is not None
    params: dict[str, Any] = {}
    payload = shape.serialization.get("payload")
    if payload and shape.members[payload].type_name == "string":
        params[payload] = call.body.decode(errors="replace")
    for name, member in shape.members.items():
        wire_name, place = member.serialization.get("name", name), member.serialization.get("location")
        if place == "uri" and wire_name in call.uri:
            params[name] = call.uri[wire_name]
        elif place in ("querystring", "header") and member.type_name != "map":
            source = call.wire.args if place == "querystring" else call.wire.headers
            if wire_name in source:
                params[name] = _from_text(member, source.getlist(wire_name))
    return params


def _parse_rest(call: Call) -> dict[str, Any]:
    shape = call.model.input_shape
    assert shape is not None
    payload = shape.serialization.get("payload")
    document = _json(call.body) if call.body and not payload else {}
    params: dict[str, Any] = {}
    for name, member in shape.members.items():
        wire_name, place = member.serialization.get("name", name), member.serialization.get("location")
        value: Any
        if name == payload:
            value = call.body if member.type_name == "blob" else _by_member(member, _json(call.body))
        elif place == "uri":
            value = call.uri.get(wire_name)
        elif place == "querystring":
            value = _from_text(member, call.wire.args.getlist(wire_name))
        elif place == "header":
            value = _from_text(member, call.wire.headers.getlist(wire_name))
        else:
            value = _by_member(member, document.get(wire_name))
        if value is not None:
            params[name] = value
    return params


def _parse_with_moto(call: Call) -> dict[str, Any]:
    model = get_moto_model(call.service).operation_model(call.operation)
    request = {
        "method": call.wire.method,
        "values": call.wire.values,
        "headers": call.wire.headers,
        "body": call.body,
        "url_path": call.wire.path,
        "url_params": call.uri,
    }
    try:
        parsed: dict[str, Any] = PROTOCOL_PARSERS[call.protocol](model).parse(request)
    except (ValueError, TypeError, KeyError) as error:
        raise AwsError("MalformedInput", f"The request cannot be read as {call.operation}: {error}") from error
    return parsed


def _json(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise AwsError("SerializationException", f"The request's body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise AwsError("SerializationException", "Start of structure or map found where not expected.")
    return document


def _by_member(shape: Shape, value: Any) -> Any:
    """Rename from wire names to member names and drop what the model does not have, as AWS does."""
    if value is None:
        return None
    if shape.type_name == "structure" and isinstance(value, dict):
        named = ((name, member, member.serialization.get("name", name)) for name, member in shape.members.items())
        return {name: _by_member(member, value[wire]) for name, member, wire in named if value.get(wire) is not None}
    if shape.type_name == "list" and isinstance(value, list):
        return [_by_member(shape.member, item) for item in value]
    if shape.type_name == "map" and isinstance(value, dict):
        return {key: _by_member(shape.value, item) for key, item in value.items()}
    return value


def _from_text(shape: Shape, values: list[str]) -> Any:
    """A value from the query string or a header, where everything is text."""
    if not values:
        return None
    if shape.type_name == "list":
        return [_from_text(shape.member, [value]) for value in values]
    text = values[0]
    try:
        if shape.type_name in ("integer", "long"):
            return int(text)
        if shape.type_name in ("float", "double"):
            return float(text)
    except ValueError as error:
        raise AwsError("SerializationException", f"'{text}' can not be converted to {shape.type_name}") from error
    return text.lower() == "true" if shape.type_name == "boolean" else text


def decode(shape: Shape | None, value: Any) -> Any:
    """Blobs to ``bytes`` and times to ``datetime``, everywhere in a JSON input. Raises ``SerializationException``."""
    if shape is None or value is None:
        return value
    kind = shape.type_name
    if kind == "structure":
        return {name: decode(shape.members[name], item) for name, item in value.items()}
    if kind == "list":
        return [decode(shape.member, item) for item in value]
    if kind == "map":
        return {key: decode(shape.value, item) for key, item in value.items()}
    try:
        if kind == "blob" and isinstance(value, str):
            return base64.b64decode(value, validate=True)
        if kind == "timestamp" and not isinstance(value, datetime):
            return parse_timestamp(value).astimezone(UTC)
    except (ValueError, TypeError) as error:
        raise AwsError(
            "SerializationException", f"'{str(value)[:80]}' can not be converted to {kind}: {error}"
        ) from error
    return value


# ---- output ----


def render(call: Call, result: dict[str, Any], request_id: str) -> Response:
    """The HTTP answer of a call that succeeded with ``result`` (the output shape's members)."""
    headers = [("x-amzn-RequestId", request_id)]
    shape = call.model.output_shape
    if call.protocol == "json":
        body = json.dumps(_encode(shape, result) if shape is not None else {}).encode()
        return Response(200, [("Content-Type", "application/x-amz-json-1.1"), *headers], body)
    if call.protocol == "rest-json":
        return _render_rest(call, result, headers)
    return _render_with_moto(call, result, request_id)


def _render_rest(call: Call, result: dict[str, Any], headers: list[tuple[str, str]]) -> Response:
    shape = call.model.output_shape
    status = call.model.http.get("responseCode", 200)
    payload = shape.serialization.get("payload") if shape is not None else None
    document: dict[str, Any] = {}
    content_type = ("Content-Type", "application/json")
    for name, member in shape.members.items() if shape is not None else ():
        value, place = result.get(name), member.serialization.get("location")
        if value is None or name == payload:
            continue
        if place == "statusCode":
            status = value
        elif place == "header":
            header = (member.serialization.get("name", name), str(value))
            if header[0].lower() == "content-type":
                content_type = header
            else:
                headers.append(header)
        else:
            document[member.serialization.get("name", name)] = _encode(member, value)
    if payload:
        body = result.get(payload, b"")
    else:
        body = b"" if status == 204 else json.dumps(document).encode()
    return Response(status, [content_type, *headers], body)


def _encode(shape: Shape, value: Any) -> Any:
    kind = shape.type_name
    if kind == "structure":
        members = shape.members
        return {
            members[name].serialization.get("name", name): _encode(members[name], item)
            for name, item in value.items()
            if item is not None and name in members
        }
    if kind == "list":
        return [_encode(shape.member, item) for item in value]
    if kind == "map":
        return {key: _encode(shape.value, item) for key, item in value.items()}
    if kind == "timestamp":
        return _encode_time(shape, value)
    return base64.b64encode(value).decode() if kind == "blob" else value


def _encode_time(shape: Shape, value: datetime) -> Any:
    if shape.serialization.get("timestampFormat") == "iso8601":
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return round(value.timestamp(), 3)


class _MotoError(ServiceException):  # type: ignore[misc]
    """moto's serialisers take only their own exceptions."""

    def __init__(self, error: AwsError) -> None:
        self.code = error.code
        super().__init__(error.message)


def _render_with_moto(call: Call, result: Any, request_id: str) -> Response:
    model: MotoOperationModel = get_moto_model(call.service).operation_model(call.operation)
    # The picker lets a result hold moto's own records (an EC2 reservation), whose attributes are in snake case.
    serializer = get_serializer_class(call.service, call.protocol)(model, value_picker=XFormedAttributePicker())
    made = serializer.serialize(result)
    body = made["body"]
    headers = [(name, str(value)) for name, value in made["headers"].items()]
    return Response(
        made["status_code"],
        [*headers, ("x-amzn-RequestId", request_id)],
        body if isinstance(body, bytes) else body.encode(),
    )


def render_error(call: Call | None, error: AwsError, request_id: str) -> Response:
    """The HTTP answer of a call that failed, in the shape of its service's protocol."""
    if call is not None and call.protocol in ("query", "ec2", "rest-xml"):
        return _render_xml_error(call, error, request_id)
    status = _modelled_status(call, error) or error.status
    document = {"__type": error.code, "message": error.message, "Message": error.message, **error.members}
    headers = [
        ("Content-Type", "application/x-amz-json-1.1"),
        ("x-amzn-ErrorType", error.code),
        ("x-amzn-RequestId", request_id),
    ]
    if call is not None and call.wire.headers.get("x-amzn-query-mode") == "true":
        # Clients of a service that used to speak the query protocol look for the error's code of those days here.
        headers.append(("x-amzn-query-error", f"{error.code};{'Sender' if status < 500 else 'Receiver'}"))
    return Response(status, headers, json.dumps(document).encode())


def _modelled_status(call: Call | None, error: AwsError) -> int | None:
    for shape in call.model.service_model.error_shapes if call else ():
        if error.code in (shape.name, shape.error_code):
            status: int | None = shape.metadata.get("error", {}).get("httpStatusCode")
            return status
    return None


def _render_xml_error(call: Call, error: AwsError, request_id: str) -> Response:
    response = _render_with_moto(call, _MotoError(error), request_id)
    response.status = _modelled_status(call, error) or error.status
    return response
