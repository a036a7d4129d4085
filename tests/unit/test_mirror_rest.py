"""The client of Connect's REST API before a server that answers as Connect does where a real one seldom would."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kafka_migration.errors import MirrorError, MirrorUnreachable
from kafka_migration.mirror.connect import _kafka_version
from kafka_migration.mirror.rest import Connect, ConnectAccess

REBALANCE = "Cannot complete request because of a conflicting operation (e.g. worker rebalance)"
STALE = (
    "Cannot complete request momentarily due to stale configuration (typically caused by a concurrent config change)"
)
FORWARDING = "IO Error trying to forward REST request: java.net.ConnectException: Connection refused"


class Server:
    """Gives the answers that a test has put in, in turn, the last one again and again; keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, object]] = [(200, {})]
        self.asked: list[tuple[str, str]] = []
        self.authorizations: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.asked.append((self.command, self.path))
                outer.authorizations.append(self.headers.get("Authorization"))
                code, content = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                body = json.dumps(content).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = answer

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.http.server_port}"

    def will_answer(self, *answers: tuple[int, str]) -> None:
        self.answers = [(code, {"error_code": code, "message": message}) for code, message in answers]


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.http.shutdown()
    one.http.server_close()


@pytest.fixture
def connect(server: Server) -> Connect:
    return Connect(ConnectAccess(f"http://{server.address}"))


def test_login_is_sent_and_the_password_never_shown(server: Server) -> None:
    access = ConnectAccess(f"http://{server.address}", "me", "hidden")
    server.will_answer((401, "no"))
    with pytest.raises(MirrorError, match="check login and password") as refused:
        Connect(access).resume("x")
    assert server.authorizations == ["Basic " + base64.b64encode(b"me:hidden").decode()]
    assert "hidden" not in f"{access!r} {refused.value}"


@pytest.mark.parametrize("passing", [REBALANCE, STALE])
def test_what_passes_is_waited_for(server: Server, connect: Connect, passing: str) -> None:
    server.will_answer((409, passing), (409, passing), (202, ""))
    connect.resume("x")
    assert server.asked == [("PUT", "/connectors/x/resume")] * 3


def test_real_conflict_is_told_at_once_with_the_connector_and_what_connect_said(
    server: Server, connect: Connect
) -> None:
    server.will_answer((409, "Connector plan.x already exists"))
    with pytest.raises(MirrorError, match=r"POST /connectors, 409\): Connector plan.x already exists") as refused:
        connect.create_stopped("plan.x", {})
    assert server.address in str(refused.value)
    assert not isinstance(refused.value, MirrorUnreachable)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("code", "message"),
    [(503, "busy"), (502, "gateway"), (500, "Request timed out"), (500, FORWARDING)],
)
def test_absent_worker_is_no_refusal(server: Server, connect: Connect, code: int, message: str) -> None:
    server.will_answer((code, message))
    with pytest.raises(MirrorUnreachable, match=f"{code}.*{message[:10]}"):
        connect.stop("x")


def test_nobody_there_is_unreachable(server: Server) -> None:
    server.http.server_close()
    with pytest.raises(MirrorUnreachable, match="Connection refused"):
        Connect(ConnectAccess("http://127.0.0.1:9")).version()


def test_connector_without_a_state_yet_is_not_absent(server: Server, connect: Connect) -> None:
    server.answers = [(404, {}), (200, {"name": "x"})]
    assert connect.state("x") == ("UNASSIGNED", 0)
    server.answers = [(404, {})]
    assert connect.state("x") == ("ABSENT", 0)


def test_connectors_of_a_worker_that_still_starts_are_not_none(server: Server, connect: Connect) -> None:
    server.answers = [(503, {"message": "Worker is still starting up."}), (200, {})]
    with pytest.raises(MirrorUnreachable, match="still starting"):
        connect.connectors()
    server.answers = [(404, {}), (200, {})]  # a worker of before KIP-1017
    assert connect.connectors() == {}


def test_tls_is_verified_by_the_named_authority_whatever_the_environment_says(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.http.socket = context.wrap_socket(server.http.socket, server_side=True)
    server.answers = [(200, {"version": "4.3.1"})]
    url = f"https://{server.address}"
    with pytest.raises(MirrorUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
        Connect(ConnectAccess(url)).version()
    assert Connect(ConnectAccess(url, verify=str(certificate))).version() == "4.3.1"


@pytest.mark.parametrize(
    ("told", "kafka"),
    [("4.3.1", (4, 3)), ("3.6.0", (3, 6)), ("3.10.0-SNAPSHOT", (3, 10)), ("7.6.1-ccs", (3, 6)), ("8.0.0-ce", (4, 0))],
)
def test_version_is_read_as_kafkas(told: str, kafka: tuple[int, int]) -> None:
    assert _kafka_version(told) == kafka


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    written = folder / "certificate.pem", folder / "key.pem"
    written[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    written[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return written
