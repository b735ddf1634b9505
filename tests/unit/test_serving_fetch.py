"""Photos from the web: what must be fetched, and all that must not be."""

import datetime
import http.server
import ipaddress
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.tiny_photos import TRAIN_SRC, encoded, picture

sys.path.insert(0, str(TRAIN_SRC))
import fetch

PHOTO = encoded(picture((10, 20, 30), 1))
HOST = "photos.example"


# -- whether to fetch at all


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("http://photos.example/rex.jpg", 400),
        ("ftp://photos.example/rex.jpg", 400),
        ("file:///etc/passwd", 400),
        ("photos.example/rex.jpg", 400),
        ("https://", 400),
        ("https:///rex.jpg", 400),
        ("https://user@photos.example/rex.jpg", 400),
        ("https://user:word@photos.example/rex.jpg", 400),
        ("https://photos.example:99999/rex.jpg", 400),
        ("https://[::1/rex.jpg", 400),
        ("https://photos.example/a b.jpg", 400),
        ("https://photos.example/\r\nHost: evil", 400),
        ("https://phötos.example/rex.jpg", 400),
        ("https://elsewhere.example/rex.jpg", 403),
        ("https://photos.example.evil.example/rex.jpg", 403),
        ("https://evil.example/photos.example", 403),
        ("https://evil.example#@photos.example/", 403),
        ("https://photos.example:8443/rex.jpg", 403),
        ("https://127.0.0.1/rex.jpg", 403),
        ("https://169.254.169.254/latest/meta-data/", 403),
        ("https://[::1]/rex.jpg", 403),
        ("https://localhost/rex.jpg", 403),
        ("https://2130706433/", 403),
        ("https://0x7f000001/", 403),
        ("https://0177.0.0.1/", 403),
        ("https://127.1/", 403),
        ("https://[::ffff:169.254.169.254]/", 403),
        ("https://[fe80::1%25eth0]/", 403),
        ("https://photos.example:0x1bb/", 400),
        ("https://photos.example:-443/", 400),
        ("https://photos.example:80/", 403),
        ("https://photos.example\\@evil.example/", 400),
        ("https://photos.example%2f@evil.example/", 400),
        ("https://photos.example%00.evil.example/", 403),
        ("gopher://photos.example/", 400),
        ("data:image/png;base64,AAAA", 400),
        ("//photos.example/", 400),
    ],
)
def test_urls_that_are_not_even_looked_up(url, status, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("looked up"))
    with pytest.raises(fetch.FetchError) as refused:
        fetch.from_url(url, [HOST], 1000, 1)
    assert refused.value.status_code == status


def test_nothing_is_fetched_by_default():
    with pytest.raises(fetch.FetchError, match="ALLOWED_IMAGE_HOSTS") as refused:
        fetch.from_url("https://photos.example/rex.jpg", [], 1000, 1)
    assert refused.value.status_code == 403


ADDRESSES = {
    "8.8.8.8": True,
    "2606:4700::1111": True,
    "127.0.0.1": False,
    "0.0.0.0": False,
    "10.1.2.3": False,
    "172.16.0.1": False,
    "192.168.1.1": False,
    "100.64.0.1": False,
    "169.254.169.254": False,
    "224.0.0.1": False,
    "255.255.255.255": False,
    "::": False,
    "::1": False,
    "fe80::1%eth0": False,
    "fd00:ec2::254": False,
    "ff02::1": False,
    "::ffff:127.0.0.1": False,
    "::ffff:169.254.169.254": False,
    "::ffff:8.8.8.8": True,
    "64:ff9b::7f00:1": False,
    "64:ff9b:1::a9fe:a9fe": False,
    "::7f00:1": False,
    "::169.254.169.254": False,
    "::ffff:0:127.0.0.1": False,
    "fec0::1": False,
    "2001:0:7f00:1::": False,
    "169.254.170.2": False,
    "168.63.129.16": False,
    "192.0.0.192": False,
    "198.18.0.1": False,
    "2002:7f00:1::": False,
}


@pytest.mark.parametrize(("address", "public"), ADDRESSES.items())
def test_public_addresses(address, public):
    assert fetch.is_public(address) is public


@pytest.mark.parametrize("number", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1"])
def test_a_number_that_the_system_takes_for_an_address_is_judged_as_that_address(number):
    """Even where an operator has put it on the list."""
    with pytest.raises(fetch.FetchError) as refused:
        fetch.from_url(f"https://{number}/", [number], 1000, 1)
    assert refused.value.status_code in (403, 424)
    assert "could not be fetched" not in str(refused.value)


def resolves_to(monkeypatch, *addresses):
    """Each look-up answers with the next of these; the last one stays. Returns the look-ups made."""
    asked: list[str] = []

    def getaddrinfo(host, port, **_):
        asked.append(host)
        found = addresses[min(len(asked), len(addresses)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in found.split()]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize("addresses", ["127.0.0.1", "8.8.8.8 10.0.0.1", "169.254.169.254"])
def test_a_host_with_a_private_address_is_refused(monkeypatch, addresses):
    resolves_to(monkeypatch, addresses)
    monkeypatch.setattr(socket, "create_connection", lambda *_: pytest.fail("connected"))
    with pytest.raises(fetch.FetchError, match="not on the public internet") as refused:
        fetch.from_url("https://photos.example/rex.jpg", [HOST], 1000, 1)
    assert refused.value.status_code == 403


def test_the_address_that_was_checked_is_the_one_connected_to(monkeypatch):
    """A name that answers with a private address the second time gains nothing by it."""
    asked, connected = resolves_to(monkeypatch, "93.184.216.34", "127.0.0.1"), []

    def create_connection(address, timeout):
        connected.append(address)
        raise ConnectionRefusedError("as far as this test goes")

    monkeypatch.setattr(socket, "create_connection", create_connection)
    with pytest.raises(fetch.FetchError) as refused:
        fetch.from_url("https://photos.example/rex.jpg", [HOST], 1000, 1)
    assert refused.value.status_code == 424
    assert (asked, connected) == ([HOST], [("93.184.216.34", 443)])


def test_an_unknown_host_is_said_to_be_unknown(monkeypatch):
    def getaddrinfo(*_, **__):
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(fetch.FetchError, match="could not be found") as refused:
        fetch.from_url("https://photos.example/rex.jpg", [HOST], 1000, 1)
    assert refused.value.status_code == 424


# -- fetching, from a real https server


ENDLESS_SECONDS = 600


class Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers["Host"]))
        getattr(self, self.path.strip("/").partition("?")[0])()

    def photo(self) -> None:
        self.reply(200, PHOTO)

    def missing(self) -> None:
        self.reply(404, b"")

    def moved(self) -> None:
        self.reply(302, b"", Location="http://169.254.169.254/")

    def unending(self) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(1000):
            self.wfile.write(b"\0" * 10_000)

    def dripping(self) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(10 * ENDLESS_SECONDS):
            self.wfile.write(b"\0")
            time.sleep(0.1)

    def silent(self) -> None:
        time.sleep(ENDLESS_SECONDS)

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    seen: list[tuple[str, str]]
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Clients that hang up are what half of these tests are about."""


def certificate(name: str) -> tuple[bytes, bytes]:
    """A certificate for this name, signed by itself, and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(hours=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    signed = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return signed, key.private_bytes(*form)


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    """https://photos.example, on this machine."""
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(b"".join(certificate(HOST)))
    with Server(("127.0.0.1", 0), Pages) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "cert.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.certificate = folder / "cert.pem"
        server.seen = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def get(server, monkeypatch):
    """Fetch a path of that server, which the names of this test lead to and whose certificate it trusts."""
    port, real = server.server_port, ssl.create_default_context
    monkeypatch.setattr(fetch, "public_address", lambda *_: "127.0.0.1")
    monkeypatch.setattr(ssl, "create_default_context", lambda: real(cafile=server.certificate))

    def call(path, host=HOST, max_bytes=100_000, timeout=60.0):
        return fetch.from_url(f"https://{host}:{port}{path}", [f"{host}:{port}"], max_bytes, timeout)

    server.seen.clear()
    return call


def test_a_photo_is_fetched(get, server):
    assert get("/photo?size=2&x=%20") == PHOTO
    assert server.seen == [("/photo?size=2&x=%20", f"{HOST}:{server.server_port}")]


@pytest.mark.parametrize(("path", "status", "words"), [("/moved", 400, "not followed"), ("/missing", 424, "404")])
def test_other_answers_are_passed_on_as_what_they_are(get, server, path, status, words):
    with pytest.raises(fetch.FetchError, match=words) as refused:
        get(path)
    assert refused.value.status_code == status
    assert len(server.seen) == 1


def test_a_photo_may_be_as_large_as_allowed_and_no_larger(get):
    assert get("/photo", max_bytes=len(PHOTO)) == PHOTO
    for path in ("/photo", "/unending"):
        with pytest.raises(fetch.FetchError, match="larger than") as refused:
            get(path, max_bytes=len(PHOTO) - 1)
        assert refused.value.status_code == 413


@pytest.mark.parametrize("path", ["/silent", "/dripping"])
def test_the_time_limit_is_one_in_all(get, path):
    started = time.perf_counter()
    with pytest.raises(fetch.FetchError, match=r"longer than|timed out") as refused:
        get(path, timeout=0.5)
    assert refused.value.status_code == 424
    assert time.perf_counter() - started < ENDLESS_SECONDS / 2


def test_the_certificate_must_be_the_hosts(get):
    with pytest.raises(fetch.FetchError, match="certificate") as refused:
        get("/photo", host="other.example")
    assert refused.value.status_code == 424


def test_a_certificate_nobody_vouches_for_is_refused(get, server, monkeypatch):
    monkeypatch.setattr(ssl, "create_default_context", lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    with pytest.raises(fetch.FetchError, match="certificate"):
        get("/photo")


def test_no_address_in_disguise_is_missed():
    for network in ("10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16"):
        first = ipaddress.ip_network(network)[1]
        assert not fetch.is_public(f"::ffff:{first}")
