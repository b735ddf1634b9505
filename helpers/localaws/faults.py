"""What AWS's services answer to a request that is not authentic or not allowed: each in its own codes and statuses.

https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from __future__ import annotations

from .errors import AwsError
from .policy import Decision

_INVALID = "The security token included in the request is invalid."
_EXPIRED = "The security token included in the request is expired"
_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)
_S3_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your key and signing method."
)
_EC2 = "AWS was not able to validate the provided access credentials"
# (code, status, message; None for the fault's own) by kind of fault, by family of services.
Row = tuple[str, int, str | None]
S3: dict[str, Row] = {
    "missing": ("AccessDenied", 403, "Access Denied"),
    "unsupported": ("InvalidArgument", 400, None),
    "incomplete": ("AuthorizationHeaderMalformed", 400, None),
    "unknown key": ("InvalidAccessKeyId", 403, "The AWS Access Key Id you provided does not exist in our records."),
    "mismatch": ("SignatureDoesNotMatch", 403, _S3_MISMATCH),
    "skewed": (
        "RequestTimeTooSkewed",
        403,
        "The difference between the request time and the current time is too large.",
    ),
    "url expired": ("AccessDenied", 403, None),
    "invalid token": ("InvalidToken", 400, "The provided token is malformed or otherwise invalid."),
    "expired token": ("ExpiredToken", 400, "The provided token has expired."),
    "body mismatch": ("XAmzContentSHA256Mismatch", 400, None),
}
QUERY: dict[str, Row] = {
    "missing": ("MissingAuthenticationToken", 403, "Request is missing Authentication Token"),
    "unsupported": ("IncompleteSignature", 400, None),
    "incomplete": ("IncompleteSignature", 400, None),
    "unknown key": ("InvalidClientTokenId", 403, _INVALID),
    "mismatch": ("SignatureDoesNotMatch", 403, _MISMATCH),
    "skewed": ("SignatureDoesNotMatch", 403, None),
    "url expired": ("RequestExpired", 400, None),
    "invalid token": ("InvalidClientTokenId", 403, _INVALID),
    "expired token": ("ExpiredToken", 403, _EXPIRED),
}
EC2: dict[str, Row] = {
    **dict.fromkeys(QUERY, ("AuthFailure", 401, _EC2)),
    "skewed": ("RequestExpired", 400, "Request has expired."),
    "url expired": ("RequestExpired", 400, "Request has expired."),
    "expired token": ("RequestExpired", 400, "Request has expired."),
}
JSON: dict[str, Row] = {
    "missing": ("MissingAuthenticationTokenException", 403, "Missing Authentication Token"),
    "unsupported": ("IncompleteSignatureException", 403, None),
    "incomplete": ("IncompleteSignatureException", 403, None),
    "unknown key": ("UnrecognizedClientException", 403, _INVALID),
    "mismatch": ("InvalidSignatureException", 403, _MISMATCH),
    "skewed": ("InvalidSignatureException", 403, None),
    "url expired": ("InvalidSignatureException", 403, None),
    "invalid token": ("UnrecognizedClientException", 403, _INVALID),
    "expired token": ("ExpiredTokenException", 403, _EXPIRED),
}
_FAMILIES = {"rest-xml": S3, "query": QUERY, "ec2": EC2}


def not_authentic(protocol: str, kind: str, message: str) -> AwsError:
    """The error of a request that is not authentic, in its service's words."""
    code, status, text = _FAMILIES.get(protocol, JSON).get(kind) or JSON["mismatch"]
    if protocol == "json" and status == 403:
        status = 400
    return AwsError(code, text or message or _MISMATCH, status)


def not_allowed(protocol: str, caller: str, action: str, resource: str, decision: Decision) -> AwsError:
    """The error of a request that no policy allows, or that one denies."""
    shown = f'"{resource}"' if protocol == "rest-xml" else resource
    message = f"User: {caller} is not authorized to perform: {action} on resource: {shown} {decision.reason}"
    if protocol == "ec2":
        return AwsError("UnauthorizedOperation", f"You are not authorized to perform this operation. {message}", 403)
    if protocol in ("query", "rest-xml"):
        return AwsError("AccessDenied", message, 403)
    return AwsError("AccessDeniedException", message, 403 if protocol == "rest-json" else 400)
