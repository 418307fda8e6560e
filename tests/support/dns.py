"""An authoritative DNS server on loopback, over UDP and TCP, whose records and faults tests choose.

Records come from `set` and, for the hooks of ACME clients, from files `<name>.<TYPE>` in a directory, one record to a
line: `echo "$digest" >> "$dir/_acme-challenge.example.corp.TXT"`.
"""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dnslib import CLASS, QTYPE, RCODE, RD, RR, DNSRecord, EDNSOption

Fault = Literal["servfail", "refused", "silent", "truncated", "garbage", "forged", "oversized", "closed"]


@dataclass
class DnsServer:
    """The server. `a` is the address of every name that has no A records of its own; None means there is none."""

    a: str | None = "127.0.0.1"
    directory: Path | None = None
    recursive: bool = True
    """Whether answers include the target of an alias, with RA set."""
    faults: dict[tuple[str, str], Fault] = field(default_factory=dict)
    queries: list[tuple[str, str, str]] = field(default_factory=list)
    """(name, type, protocol) of every question, in order."""
    _records: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)

    def set(self, name: str, rdtype: str, *values: str) -> None:
        """Give a name its records of a type, in zone file form (TXT: the bare text); no values remove them."""
        self._records[name.lower(), rdtype] = values

    def txt(self, name: str, *values: str) -> None:
        self.set(name, "TXT", *values)

    def caa(self, name: str, *values: str) -> None:
        """Set CAA records such as `0 issue "ca.example"`."""
        self.set(name, "CAA", *values)

    def fail(self, fault: Fault, name: str = "*", rdtype: str = "*") -> None:
        """Answer a question so from now on; `*` stands for every name or type."""
        self.faults[name.lower(), rdtype] = fault

    def answer(self, packet: bytes, protocol: str) -> bytes | None:
        """Return the answer to a packet, or None to stay silent."""
        request = DNSRecord.parse(packet)
        name, rdtype = str(request.q.qname).rstrip(".").lower(), str(QTYPE[request.q.qtype])
        self.queries.append((name, rdtype, protocol))
        reply = request.reply(ra=int(self.recursive), aa=1)
        fault = self._fault(name, rdtype)
        if fault in ("silent", "closed"):
            return None
        if fault == "garbage":
            return packet[:2] + b"\x84\x00" + packet[4:6] + b"\0\x05" + packet[8:12] + packet[12:] + b"\xff" * 9
        if fault == "truncated" and protocol == "udp":
            reply.header.tc = 1
            return bytes(reply.pack())
        self._fill(reply, name, rdtype, fault)
        return bytes(reply.pack())

    def _fill(self, reply: DNSRecord, name: str, rdtype: str, fault: Fault | None) -> None:
        if fault == "servfail":
            reply.header.rcode = RCODE.SERVFAIL
            reply.add_ar(_extended_error(9, "DNSKEY missing"))
        elif fault == "refused":
            reply.header.rcode = RCODE.REFUSED
        elif fault == "oversized":
            for number in range(600):
                reply.add_answer(_record(name, "TXT", f"filler {number}"))
        else:
            for record in self._lookup(name, rdtype):
                reply.add_answer(record)
            if not reply.rr and not self._exists(name):
                reply.header.rcode = RCODE.NXDOMAIN

    def _fault(self, name: str, rdtype: str) -> Fault | None:
        keys = ((name, rdtype), (name, "*"), ("*", rdtype), ("*", "*"))
        return next((self.faults[key] for key in keys if key in self.faults), None)

    def _lookup(self, name: str, rdtype: str, depth: int = 0) -> list[RR]:
        own = [_record(name, rdtype, value) for value in self._values(name, rdtype)]
        alias = self._values(name, "CNAME")
        if own or not alias or depth > 20:
            return own
        rest = self._lookup(alias[0].rstrip(".").lower(), rdtype, depth + 1) if self.recursive else []
        return [_record(name, "CNAME", alias[0]), *rest]

    def _values(self, name: str, rdtype: str) -> tuple[str, ...]:
        values = self._records.get((name, rdtype))
        if values is None and self.directory is not None:
            path = self.directory / f"{name}.{rdtype}"
            values = tuple(path.read_text(encoding="utf-8").splitlines()) if path.is_file() else None
        if values is None and rdtype == "A" and self.a is not None and (name, "CNAME") not in self._records:
            values = (self.a,)
        return values or ()

    def _exists(self, name: str) -> bool:
        return self.a is not None or any(key[0] == name and values for key, values in self._records.items())


@dataclass(frozen=True)
class Running:
    """A running server: `server` to set records on, and where it listens."""

    server: DnsServer
    port: int
    tls_port: int | None = None


@contextmanager
def serve(server: DnsServer, tls: ssl.SSLContext | None = None) -> Iterator[Running]:
    """Run the server on 127.0.0.1, UDP and TCP on one port; with a context, DNS over TLS on another one."""
    udp, tcp = _bind(server)
    running: list[socketserver.BaseServer] = [udp, tcp]
    tls_port = None
    if tls is not None:
        secured = _Tcp(server, 0, tls)
        running.append(secured)
        tls_port = secured.server_address[1]
    threads = [threading.Thread(target=one.serve_forever, args=(0.02,), daemon=True) for one in running]
    for thread in threads:
        thread.start()
    try:
        yield Running(server, udp.server_address[1], tls_port)
    finally:
        for one in running:
            one.shutdown()
            one.server_close()
        for thread in threads:
            thread.join()


def _bind(server: DnsServer) -> tuple[_Udp, _Tcp]:
    for _ in range(20):
        udp = _Udp(server)
        try:
            return udp, _Tcp(server, udp.server_address[1], None)
        except OSError:  # someone else has the TCP port of that number
            udp.server_close()
    raise RuntimeError("no port is free for both UDP and TCP")


class _Udp(socketserver.UDPServer):
    def __init__(self, server: DnsServer) -> None:
        self.dns = server
        super().__init__(("127.0.0.1", 0), _UdpHandler)


class _UdpHandler(socketserver.BaseRequestHandler):
    server: _Udp

    def handle(self) -> None:
        packet, sock = self.request
        reply = self.server.dns.answer(packet, "udp")
        if reply is None:
            return
        if "forged" in self.server.dns.faults.values():  # a wrong identifier, then another name, then the truth
            sock.sendto(bytes((packet[0] ^ 1,)) + reply[1:], self.client_address)
            sock.sendto(reply[:13] + b"x" + reply[14:], self.client_address)
        sock.sendto(reply, self.client_address)


class _Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, server: DnsServer, port: int, tls: ssl.SSLContext | None) -> None:
        self.dns = server
        self.tls = tls
        super().__init__(("127.0.0.1", port), _TcpHandler)

    def get_request(self) -> tuple[socket.socket, Any]:
        sock, address = super().get_request()
        sock.settimeout(5)
        return (self.tls.wrap_socket(sock, server_side=True) if self.tls else sock), address


class _TcpHandler(socketserver.StreamRequestHandler):
    server: _Tcp

    def handle(self) -> None:
        size = int.from_bytes(self.rfile.read(2), "big")
        reply = self.server.dns.answer(self.rfile.read(size), "tls" if self.server.tls else "tcp")
        if reply is not None:
            self.wfile.write(len(reply).to_bytes(2, "big") + reply)


def _record(name: str, rdtype: str, value: str) -> RR:
    if rdtype == "TXT":
        data = _txt(value.encode())
    elif rdtype == "CAA":
        data = _caa(value)
    else:
        return RR.fromZone(f"{name} 1 IN {rdtype} {value}")[0]
    return RR(name, getattr(QTYPE, rdtype), CLASS.IN, 1, data)


def _caa(value: str) -> RD:
    flags, tag, text = value.split(" ", 2)
    octets = text.strip('"').encode()
    return RD(bytes((int(flags), len(tag))) + tag.encode() + octets)


def _txt(octets: bytes) -> RD:
    strings = [octets[start : start + 255] for start in range(0, len(octets), 255)] or [b""]
    return RD(b"".join(bytes((len(string),)) + string for string in strings))


def _extended_error(code: int, text: str) -> RR:
    return RR(".", QTYPE.OPT, 1232, 0, [EDNSOption(15, code.to_bytes(2, "big") + text.encode())])
