"""Signatures of requests: Signature Version 4 in the header and in presigned URLs, and Version 2 in presigned URLs.

(boto3 still presigns S3 URLs with Version 2 unless it is told otherwise.)
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, quote, unquote_plus, urlsplit

from botocore.auth import HmacV1Auth
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials
from botocore.utils import normalize_url_path

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
MAX_EXPIRES = 7 * 24 * 3600
# How far a request's clock may be from ours: S3 grants 15 minutes, the others 5.
SKEW = {"s3": timedelta(minutes=15)}
USUAL_SKEW = timedelta(minutes=5)
_FIELDS = re.compile(r"(Credential|SignedHeaders|Signature)=([^,\s]+)")
_STAMP = re.compile(r"\d{8}T\d{6}Z")
_SCOPE_PARTS = 5

Environ = dict[str, Any]


class SignatureFault(Exception):
    """Why a request is not authentic: ``kind`` is one of the rows of the services' error codes."""

    def __init__(self, kind: str, message: str = "") -> None:
        super().__init__(kind)
        self.kind, self.message = kind, message


@dataclass(frozen=True)
class Signed:
    """What a request says of its signature."""

    version: int
    access_key: str
    scope: str  # 20261122/us-east-1/s3/aws4_request; empty in Version 2
    headers: tuple[str, ...]
    signature: str
    time: datetime
    token: str | None
    expires: int | None  # seconds a presigned URL lasts; None for a signed header

    @property
    def service(self) -> str:
        """The signing name of the service."""
        return self.scope.split("/")[2] if self.scope else "s3"


def read(environ: Environ) -> Signed | None:
    """The request's signature, None where it has none at all; raises :class:`SignatureFault` (``incomplete``)."""
    header = environ.get("HTTP_AUTHORIZATION", "")
    query = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
    if header and ("X-Amz-Credential" in query or "AWSAccessKeyId" in query):
        raise SignatureFault(
            "unsupported",
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string "
            "parameter or the Authorization header should be specified",
        )
    if header:
        if not header.startswith(ALGORITHM):
            raise SignatureFault("unsupported", "Unsupported Authorization Type")
        fields = dict(_FIELDS.findall(header))
        return _version_4(
            fields, environ.get("HTTP_X_AMZ_DATE"), environ.get("HTTP_DATE"), environ.get("HTTP_X_AMZ_SECURITY_TOKEN")
        )
    if "X-Amz-Signature" in query or "X-Amz-Credential" in query:
        fields = {name: query.get(f"X-Amz-{name}", "") for name in ("Credential", "SignedHeaders", "Signature")}
        expires = query.get("X-Amz-Expires", str(MAX_EXPIRES))
        if not expires.isdigit() or not 0 < int(expires) <= MAX_EXPIRES:
            raise SignatureFault("incomplete", f"X-Amz-Expires must be a number of seconds up to {MAX_EXPIRES}")
        token = query.get("X-Amz-Security-Token")
        return _version_4(fields, query.get("X-Amz-Date"), None, token, int(expires))
    if "AWSAccessKeyId" in query and "Signature" in query:
        return _version_2(query)
    return None


def _version_4(
    fields: dict[str, str], stamp: str | None, date: str | None, token: str | None, expires: int | None = None
) -> Signed:
    missing = [name for name in ("Credential", "Signature", "SignedHeaders") if not fields.get(name)]
    if missing:
        raise SignatureFault("incomplete", f"Authorization header requires '{missing[0]}' parameter.")
    key, _, scope = fields["Credential"].partition("/")
    if len(scope.split("/")) != _SCOPE_PARTS - 1:
        raise SignatureFault("incomplete", "Credential must have exactly 5 slash-delimited elements")
    try:
        if stamp and _STAMP.fullmatch(stamp):
            time = datetime.fromisoformat(stamp).astimezone(UTC)
        else:
            time = parsedate_to_datetime(date or "").astimezone(UTC)
    except ValueError as error:
        raise SignatureFault("incomplete", "Authorization header requires existence of either a 'X-Amz-Date' or a "
                             "'Date' header.") from error  # fmt: skip
    if not scope.startswith(f"{time:%Y%m%d}/"):
        raise SignatureFault(
            "mismatch",
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{scope[:8]}' != '{time:%Y%m%d}'.",
        )
    headers = tuple(fields["SignedHeaders"].lower().split(";"))
    if "host" not in headers:
        raise SignatureFault("incomplete", "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
    return Signed(4, key, scope, headers, fields["Signature"], time, token, expires)


def _version_2(query: dict[str, str]) -> Signed:
    if not query.get("Expires", "").isdigit():
        raise SignatureFault("incomplete", "Query-string authentication requires the Signature, Expires and "
                             "AWSAccessKeyId parameters")  # fmt: skip
    end = datetime.fromtimestamp(int(query["Expires"]), UTC)
    return Signed(2, query["AWSAccessKeyId"], "", (), query["Signature"], end, query.get("x-amz-security-token"), 0)


def verify(signed: Signed, secret: str, environ: Environ, body: bytes, now: datetime | None = None) -> None:
    """Raise :class:`SignatureFault` unless the request is what the key's owner signed, and signed just now."""
    _check_time(signed, now or datetime.now(UTC))
    if signed.version == 2:
        expected = _signature_2(signed, secret, environ)
    else:
        expected = _signature_4(signed, secret, environ, body)
    if not hmac.compare_digest(expected, signed.signature):
        raise SignatureFault("mismatch")


def _check_time(signed: Signed, now: datetime) -> None:
    skew = SKEW.get(signed.service, USUAL_SKEW)
    if signed.expires is not None:
        if now > signed.time + timedelta(seconds=signed.expires):
            raise SignatureFault("url expired", "Request has expired")
        if signed.version == 4 and signed.time > now + skew:
            raise SignatureFault("url expired", "Request is not yet valid")
    elif abs(now - signed.time) > skew:
        stamps = f"{signed.time:%Y%m%dT%H%M%SZ}", f"{now:%Y%m%dT%H%M%SZ}", int(skew.total_seconds() // 60)
        if signed.time < now:
            raise SignatureFault("skewed", "Signature expired: {} is now earlier than {} - {} min.".format(*stamps))
        raise SignatureFault("skewed", "Signature not yet current: {} is still later than {} + {} min.".format(*stamps))


def _signature_4(signed: Signed, secret: str, environ: Environ, body: bytes) -> str:
    canonical = canonical_request(signed, environ, _payload(signed, environ, body))
    to_sign = f"{ALGORITHM}\n{signed.time:%Y%m%dT%H%M%SZ}\n{signed.scope}\n{hashlib.sha256(canonical).hexdigest()}"
    return hmac.new(_key(secret, signed.scope), to_sign.encode(), hashlib.sha256).hexdigest()


@functools.lru_cache(1024)
def _key(secret: str, scope: str) -> bytes:
    """The key of a day, a region and a service."""
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def _payload(signed: Signed, environ: Environ, body: bytes) -> str:
    """The body's hash as it was signed; a hash that is stated must be the body's."""
    stated: str | None = environ.get("HTTP_X_AMZ_CONTENT_SHA256")
    if signed.service != "s3":
        # Other services hash what they get; botocore states the hash only where it is not signed.
        return UNSIGNED if stated == UNSIGNED else hashlib.sha256(body).hexdigest()
    if stated is None:
        return UNSIGNED if signed.expires is not None else hashlib.sha256(body).hexdigest()
    if stated != UNSIGNED and not stated.startswith("STREAMING-") and stated != hashlib.sha256(body).hexdigest():
        raise SignatureFault(
            "body mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed."
        )
    return stated


def canonical_request(signed: Signed, environ: Environ, payload: str) -> bytes:
    """The request in the form that is signed."""
    target = urlsplit(environ.get("REQUEST_URI") or quote(environ["PATH_INFO"]))
    path = target.path or "/"
    if signed.service != "s3":  # S3 signs the path as it is sent; the others normalise it and encode it once more
        path = quote(normalize_url_path(path), safe="/~")
    lines = [
        environ["REQUEST_METHOD"],
        path,
        _query(environ.get("QUERY_STRING", "")),
        *(f"{name}:{' '.join(_header(environ, name).split())}" for name in signed.headers),
        "",
        ";".join(signed.headers),
        payload,
    ]
    # WSGI has headers as latin-1; what was signed are their bytes.
    return "\n".join(lines).encode("latin-1", errors="replace")


def _query(text: str) -> str:
    if not text:
        return ""
    pairs = (one.partition("=") for one in text.split("&") if one)
    encoded = [tuple(quote(unquote_plus(part), safe="-_.~") for part in (name, value)) for name, _, value in pairs]
    return "&".join(f"{name}={value}" for name, value in sorted(encoded) if name != "X-Amz-Signature")


def _header(environ: Environ, name: str) -> str:
    variable = name.upper().replace("-", "_")
    if variable in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        return str(environ.get(variable, ""))
    return str(environ.get(f"HTTP_{variable}", ""))


def _signature_2(signed: Signed, secret: str, environ: Environ) -> str:
    query = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
    found = {name: value for name, value in query.items() if name.startswith("x-amz-")}
    found |= {
        name[5:].lower().replace("_", "-"): value for name, value in environ.items() if name.startswith("HTTP_X_AMZ_")
    }
    found |= {name: _header(environ, name) or query.get(name, "") for name in ("content-md5", "content-type")}
    headers = HTTPHeaders()
    for name, value in found.items():
        headers[name] = value
    split = urlsplit(environ.get("REQUEST_URI") or quote(environ["PATH_INFO"]))
    signer = _Presigner(Credentials(signed.access_key, secret), query["Expires"])
    made: str = signer.get_signature(environ["REQUEST_METHOD"], split, headers)
    return made


class _Presigner(HmacV1Auth):  # type: ignore[misc]
    """Version 2 with a URL's end in the date's place."""

    def __init__(self, credentials: Credentials, expires: str) -> None:
        super().__init__(credentials)
        self._expires = expires

    def _get_date(self) -> str:
        return self._expires
