"""Photos that a request names instead of bringing along: in S3, or on a web server the operator trusts.

A server that fetches whatever address it is sent lends its own place in the network to strangers: the cloud's metadata
service and its neighbours' unguarded ports answer *it*. (The name for this is server-side request forgery.) Hence a URL
is fetched only over https, only from hosts on a list, only if every address of the host is a public one, from the very
address that was checked (a name may mean another address a moment later), without following redirects, and within a
number of bytes and seconds.

    photo = from_s3("s3://bucket/photos/rex.jpg", max_bytes=6_000_000)
    photo = from_url("https://example.com/rex.jpg", ["example.com"], max_bytes=6_000_000, timeout=10)
"""

import contextlib
import functools
import http.client
import ipaddress
import os
import socket
import ssl
import threading
from collections.abc import Collection
from typing import Any
from urllib.parse import SplitResult, urlsplit

# All that is routed of IPv6. Outside are its forms that lead to an IPv4 address of the sender's choice, and old ones.
UNICAST = ipaddress.ip_network("2000::/3")
# Other clouds' services inside, and what versions of Python before 3.11.10 take for public.
INSIDE = [ipaddress.ip_network(each) for each in ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32")]


class FetchError(Exception):
    """The photo cannot be had from there; the HTTP status says whose fault it is."""

    def __init__(self, status_code: int, message: str) -> None:
        super().__init__(message)
        self.status_code = status_code


# ---------------------------------------------------------------------------------------------------------------------
# S3


def from_s3(uri: str, max_bytes: int) -> bytes:
    """The object's bytes, read with the permissions of the endpoint's own role. Raises FetchError."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or not key:
        raise FetchError(400, f"s3_uri must look like s3://bucket/key, not {uri!r}")
    if any("\ud800" <= character <= "\udfff" for character in uri):
        raise FetchError(400, f"s3_uri has half a character in it: {uri!r}")
    from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

    try:
        answer = s3_client().get_object(Bucket=bucket, Key=key)
        if answer["ContentLength"] > max_bytes:
            raise FetchError(413, f"{uri} is larger than {max_bytes:,} bytes")
        body: bytes = answer["Body"].read()
        return body
    except ClientError as error:
        raise _refused_by_s3(uri, error.response["Error"]) from error
    except ParamValidationError as error:
        raise FetchError(400, f"{uri} names no possible bucket and key") from error
    except BotoCoreError as error:
        raise FetchError(502, f"S3 could not be asked for {uri}: {error}") from error


@functools.cache
def s3_client() -> Any:
    """One client for all requests; made at the first, since most endpoints never need it."""
    import boto3
    from botocore.config import Config

    config = Config(connect_timeout=3, read_timeout=10, retries={"max_attempts": 2})
    return boto3.client("s3", config=config, region_name=os.environ.get("AWS_REGION"))


def _refused_by_s3(uri: str, error: dict[str, Any]) -> FetchError:
    code = error.get("Code", "")
    if code in ("NoSuchKey", "NoSuchBucket", "404"):
        return FetchError(404, f"{uri} does not exist ({code})")
    if code in ("AccessDenied", "AllAccessDisabled", "403"):
        return FetchError(403, f"the endpoint's role may not read {uri} ({code})")
    if code in ("InvalidBucketName", "KeyTooLongError", "InvalidObjectState"):
        return FetchError(400, f"{uri} cannot be read: {error.get('Message', code)}")
    return FetchError(502, f"S3 refused {uri}: {code}")


# ---------------------------------------------------------------------------------------------------------------------
# The web


def from_url(url: str, allowed_hosts: Collection[str], max_bytes: int, timeout: float) -> bytes:
    """The bytes at an https URL of an allowed host, within `timeout` seconds in all. Raises FetchError."""
    parts, host, port = _checked(url, allowed_hosts)
    connection = PinnedConnection(host, port, public_address(host, port), timeout)
    # A timeout of a socket starts anew with every byte that trickles in; this one does not.
    deadline = threading.Timer(timeout, connection.abort)
    deadline.start()
    try:
        path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        connection.request("GET", path, headers={"Accept": "image/jpeg, image/png", "User-Agent": "dog-breeds"})
        body = _body(connection.getresponse(), url, max_bytes)
        if connection.aborted:  # what came until then looks like a whole answer if its length was not announced
            raise TimeoutError
        return body
    except (OSError, http.client.HTTPException) as error:
        late = f"took longer than {timeout:g} seconds" if connection.aborted else str(error) or type(error).__name__
        raise FetchError(424, f"{url} could not be fetched: {late}") from error
    finally:
        deadline.cancel()
        connection.close()


def _checked(url: str, allowed_hosts: Collection[str]) -> tuple[SplitResult, str, int]:
    """The URL's parts, host and port, if it may be fetched at all."""
    if not url.isascii() or not url.isprintable() or " " in url:
        raise FetchError(400, "the url must be percent-encoded ASCII")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port or 443
    except ValueError as error:
        raise FetchError(400, f"not a url: {error}") from error
    if parts.scheme != "https" or not host or parts.username is not None:
        raise FetchError(400, "the url must be https://host/path, without a user name")
    if (host if port == 443 else f"{host}:{port}") not in allowed_hosts:
        known = ", ".join(sorted(allowed_hosts)) or "none; its operator lists them in ALLOWED_IMAGE_HOSTS"
        raise FetchError(403, f"photos of {parts.netloc} are not fetched; hosts this endpoint fetches from: {known}")
    return parts, host, port


def public_address(host: str, port: int) -> str:
    """An address of the host, all of whose addresses are public. Raises FetchError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise FetchError(424, f"the host {host} could not be found: {error}") from error
    addresses = [str(entry[4][0]) for entry in found]
    if not all(is_public(address) for address in addresses):
        raise FetchError(403, f"the host {host} has an address that is not on the public internet")
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether this is an address on the public internet, and not another one in disguise."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is None and (ip not in UNICAST or ip.sixtofour or ip.teredo):
            return False
        ip = ip.ipv4_mapped or ip
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in INSIDE)


class PinnedConnection(http.client.HTTPSConnection):
    """HTTPS to one address that was checked; the certificate must still be that of the host's name."""

    def __init__(self, host: str, port: int, address: str, timeout: float) -> None:
        self.tls = ssl.create_default_context()
        super().__init__(host, port, timeout=timeout, context=self.tls)
        self.address = address
        self.wire: socket.socket | None = None
        self.aborted = False

    def connect(self) -> None:
        """Connect to the checked address, not to whatever the name means by now."""
        self.wire = socket.create_connection((self.address, self.port), self.timeout)
        # No handshake yet: whoever aborts must be able to reach the socket during it.
        wrapped = self.tls.wrap_socket(self.wire, server_hostname=self.host, do_handshake_on_connect=False)
        self.sock = self.wire = wrapped
        wrapped.do_handshake()

    def abort(self) -> None:
        """End whatever is being waited for, as if the other side had hung up."""
        self.aborted = True
        if self.wire is not None:
            with contextlib.suppress(OSError):
                self.wire.shutdown(socket.SHUT_RDWR)


def _body(response: http.client.HTTPResponse, url: str, max_bytes: int) -> bytes:
    if 300 <= response.status < 400:
        raise FetchError(400, f"{url} redirects elsewhere; redirects are not followed")
    if response.status != 200:
        raise FetchError(424, f"{url} answered {response.status} {response.reason}")
    body = response.read(max_bytes + 1)
    if len(body) > max_bytes:
        raise FetchError(413, f"{url} is larger than {max_bytes:,} bytes")
    return body
