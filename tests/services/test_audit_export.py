"""Export of the audit trail: every sink gets every event, in order, whatever happens in between."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from acme_ca import clock, config
from acme_ca.authority import Authority
from acme_ca.config import Config
from acme_ca.keys import PrivateKey
from acme_ca.models import base
from acme_ca.models.audit_chain import chain_end
from acme_ca.problems import ServiceUnavailable
from acme_ca.secret import Secret
from acme_ca.services import audit_checkpoints, audit_export, audit_lag, audit_seal, takeovers
from acme_ca.sinks import Sink
from acme_ca.sinks.file import File
from acme_ca.sinks.syslog import Syslog
from acme_ca.sinks.webhook import Webhook
from acme_ca.worker import audit_jobs
from tests.support import https_api
from tests.support.ca import make_ca_files
from tests.support.https_api import Fault, HttpsApi, Request
from tests.support.pop import tls_server
from tests.support.rows import change, select
from tests.support.server import eventually, free_ports
from tests.support.tools import require_tool
from tests.support.trail import add, seal, tampering, trail

MakeCa = Callable[..., Authority]


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return config.load(make_ca_files(tmp_path_factory.mktemp("ca")))


@pytest.fixture
def make_ca(settings: Config, database_url: str, tmp_path: Path) -> Iterator[MakeCa]:
    """Return a CA whose [audit] has some settings changed; several are several hosts."""
    trail(database_url).close()
    made: list[Authority] = []

    def make(*sinks: Sink, **changes: object) -> Authority:
        database = settings.database.model_copy(update={"url": database_url})
        audit = settings.audit.model_copy(update={"sink": sinks, **changes})
        state = tmp_path / f"state-{len(made)}"
        made.append(Authority(settings.model_copy(update={"database": database, "state": state, "audit": audit})))
        return made[-1]

    yield make
    for ca in made:
        ca.close()


@pytest.fixture
def webhook(tmp_path: Path) -> Iterator[HttpsApi]:
    with https_api.serve(tmp_path, lambda _request: (204, b"")) as api:
        yield api


def hook(api: HttpsApi, **settings: object) -> Webhook:
    return Webhook(name="siem", url=f"{api.url}/events", ca_file=api.ca_file, **settings)  # type: ignore[arg-type]  # whatever a test sets


def numbers(requests: list[Request]) -> list[int]:
    """The places of all events that arrived, in order."""
    return [event["seq"] for request in requests for event in request.json()]


def test_each_event_goes_to_the_file_once_and_in_order(make_ca: MakeCa, tmp_path: Path) -> None:
    file = File(name="lines", path=tmp_path / "audit.jsonl", batch=4)
    ca = make_ca(file)
    add(ca.database, 10)
    assert audit_export.deliver(ca, file) == 0, "what is not sealed is not sent"
    seal(ca.database)
    assert audit_export.deliver(ca, file) == 10
    assert audit_export.deliver(ca, file) == 0
    add(ca.database, 1, 11)
    seal(ca.database)
    file.path.rename(tmp_path / "audit.jsonl.1")
    assert audit_export.deliver(ca, file) == 1
    first, second = ((tmp_path / name).read_text().splitlines() for name in ("audit.jsonl.1", "audit.jsonl"))
    assert [json.loads(line)["seq"] for line in (*first, *second)] == list(range(1, 12))
    hashes = [bytes(row[0]).hex() for row in select(ca.database, "SELECT hash FROM audit_seals ORDER BY seq")]
    assert [json.loads(line)["hash"] for line in (*first, *second)] == hashes


def test_a_torn_line_is_ended_and_its_event_sent_again(make_ca: MakeCa, tmp_path: Path) -> None:
    file = File(name="lines", path=tmp_path / "audit.jsonl")
    file.path.write_text('{"seq":1,"ha')
    ca = make_ca(file)
    add(ca.database, 1)
    seal(ca.database)
    audit_export.deliver(ca, file)
    torn, whole = file.path.read_text().splitlines()
    assert torn == '{"seq":1,"ha'
    assert json.loads(whole)["seq"] == 1


def test_file_that_cannot_be_written_is_passing_trouble(make_ca: MakeCa, tmp_path: Path) -> None:
    file = File(name="lines", path=tmp_path / "none" / "audit.jsonl")
    ca = make_ca(file)
    add(ca.database, 1)
    seal(ca.database)
    with pytest.raises(ServiceUnavailable, match=r"audit sink lines: .*No such file"):
        audit_export.deliver(ca, file)
    file.path.parent.mkdir()
    assert audit_export.deliver(ca, file) == 1


def test_webhook_gets_batches(make_ca: MakeCa, webhook: HttpsApi, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    (tmp_path / "token").chmod(0o400)
    sink = hook(webhook, batch=4, token=Secret("file", str(tmp_path / "token")))
    ca = make_ca(sink)
    add(ca.database, 10)
    seal(ca.database)
    assert audit_export.deliver(ca, sink) == 10
    assert numbers(webhook.requests) == list(range(1, 11))
    assert [request.fields["x-audit-sequence"] for request in webhook.requests] == ["1-4", "5-8", "9-10"]
    assert {request.fields["authorization"] for request in webhook.requests} == {"Bearer secret"}
    assert {request.path for request in webhook.requests} == {"/events"}


@pytest.mark.parametrize("fault", ["500", "redirect", "silent", "drip", "cut", "huge"])
def test_webhook_that_fails_and_comes_back_misses_nothing(make_ca: MakeCa, webhook: HttpsApi, fault: Fault) -> None:
    sink = hook(webhook, batch=4, timeout=0.3)
    ca = make_ca(sink)
    add(ca.database, 6)
    seal(ca.database)
    webhook.fault = fault
    for _ in range(2):
        with pytest.raises(ServiceUnavailable, match="audit sink siem"):
            audit_export.deliver(ca, sink)
    assert numbers(webhook.requests) == [1, 2, 3, 4] * 2
    webhook.fault = None
    assert audit_export.deliver(ca, sink) == 6
    assert numbers(webhook.requests[2:]) == list(range(1, 7))


def test_a_sink_is_one_worker_at_a_time(make_ca: MakeCa, tmp_path: Path) -> None:
    """Another host takes over when the lease runs out, the same host when the process died."""
    file = File(name="lines", path=tmp_path / "audit.jsonl")
    one, other = make_ca(file), make_ca(file)
    add(one.database, 3)
    seal(one.database)
    claimed = audit_export._claim(one, file)
    assert claimed is not None
    assert audit_export.deliver(other, file) == 0
    change(one.database, "UPDATE audit_sinks SET due_at = '2020-01-01 00:00:00.000000'")
    assert audit_export.deliver(other, file) == 3
    claimed.seq = 3
    assert not audit_export._release(one, claimed), "whose lease ran out says nothing any more"
    add(one.database, 1, 4)
    seal(one.database)
    assert audit_export._claim(one, file) is not None
    one.processes.close()  # as when it dies
    assert audit_export.deliver(other, file) == 0
    other.processes._folder = one.processes._folder
    assert takeovers.release_dead(other) == 1
    assert audit_export.deliver(other, file) == 1


def test_each_sink_has_a_job_and_a_cursor_of_its_own(make_ca: MakeCa, webhook: HttpsApi, tmp_path: Path) -> None:
    file, sink = File(name="lines", path=tmp_path / "audit.jsonl"), hook(webhook)
    ca = make_ca(file, sink)
    add(ca.database, 2)
    seal(ca.database)
    webhook.fault = "500"
    *_, first, second = audit_jobs(ca, threading.Event())
    first.work(ca)
    with pytest.raises(ServiceUnavailable):
        second.work(ca)
    assert audit_lag.lags(ca) == {"sealer": 0, "sink lines": 0, "sink siem": 2}


def test_who_is_slower_than_its_lease_does_not_send_for_ever(make_ca: MakeCa, tmp_path: Path) -> None:
    file = File(name="lines", path=tmp_path / "audit.jsonl", batch=2)
    one, other = make_ca(file), make_ca(file)
    add(one.database, 4)
    seal(one.database)
    claimed = audit_export._claim(one, file)
    assert claimed is not None
    change(one.database, "UPDATE audit_sinks SET due_at = '2020-01-01 00:00:00.000000'")
    assert audit_export._claim(other, file) is not None
    claimed.seq = 2
    assert not audit_export._release(one, claimed), "the claim is another's"
    assert audit_lag.lags(one)["sink lines"] == 2, "and what was sent stays sent"


def test_a_sink_whose_events_are_gone_is_given_up_until_there_are_others(make_ca: MakeCa, tmp_path: Path) -> None:
    file = File(name="lines", path=tmp_path / "audit.jsonl")
    ca = make_ca(file)
    add(ca.database, 2)
    seal(ca.database)
    add(ca.database, 1, 3)
    with tampering(ca.database) as connection:
        connection.exec_driver_sql("DELETE FROM audit_events WHERE subject <> 'order-3'")
    with pytest.raises(ServiceUnavailable, match="the events after place 0 are gone"):
        audit_export.deliver(ca, file)
    seal(ca.database)
    assert audit_export.deliver(ca, file) == 1


def test_nothing_more_is_sealed_or_sent_when_it_is_time_to_stop(make_ca: MakeCa, tmp_path: Path) -> None:
    file = File(name="lines", path=tmp_path / "audit.jsonl")
    ca, stopping = make_ca(file), threading.Event()
    stopping.set()
    add(ca.database, audit_seal.BATCH + 1)
    assert audit_seal.seal(ca, stopping) == audit_seal.BATCH
    assert audit_export.deliver(ca, file, stopping) == 0


def test_a_ca_that_fails_closed_waits_for_sealer_and_sinks(make_ca: MakeCa, webhook: HttpsApi) -> None:
    sink = hook(webhook)
    add(make_ca().database, 4)

    def refused() -> str:
        with pytest.raises(ServiceUnavailable) as problem:
            audit_lag.require_kept_up(make_ca(sink, fail_closed=3))
        assert problem.value.headers["Retry-After"] == "30"
        return problem.value.detail

    assert "(sealer)" in refused()
    audit_lag.require_kept_up(make_ca(sink, fail_closed=4))
    audit_lag.require_kept_up(make_ca(sink))
    ca = make_ca(sink, fail_closed=3)
    audit_seal.seal(ca)
    assert "(sink siem)" in refused()
    assert audit_export.deliver(ca, sink) == 4
    audit_lag.require_kept_up(make_ca(sink, fail_closed=3))


def test_the_worker_signs_when_it_is_time(make_ca: MakeCa) -> None:
    ca = make_ca(checkpoint_events=3, checkpoint_interval=3600)
    for first, signed in ((1, [1]), (2, [1]), (3, [1]), (4, [1, 4])):
        add(ca.database, 1, first)
        audit_seal.seal(ca)
        assert [row[0] for row in select(ca.database, "SELECT seq FROM audit_checkpoints ORDER BY seq")] == signed
    assert not audit_checkpoints.sign(ca), "there is nothing new to sign"


def test_checkpoints_that_the_ca_did_not_sign_stop_it_from_signing_nothing(make_ca: MakeCa) -> None:
    """One of another key, one of a place that is not there yet, and one that is signed in the future."""
    ca = make_ca(checkpoint_events=100, checkpoint_interval=3600)
    key = ca.audit_key
    assert key is not None
    other, now = ec.generate_private_key(ec.SECP256R1()), clock.now()

    def add_checkpoint(signer: PrivateKey, seq: int, at: datetime) -> None:
        with ca.database.write() as connection:
            base.insert(
                connection, audit_checkpoints.signed(dataclasses.replace(chain_end(connection), seq=seq), signer, at)
            )

    add(ca.database, 3)
    seal(ca.database)
    add_checkpoint(other, 2, now)
    add_checkpoint(key, 1, now + timedelta(days=1))
    add_checkpoint(key, 1000, now)
    assert audit_checkpoints.sign(ca)
    assert [row[0] for row in select(ca.database, "SELECT seq FROM audit_checkpoints ORDER BY seq")] == [1, 2, 3, 1000]


@pytest.fixture
def rsyslog(tmp_path: Path) -> Iterator[tuple[int, Path, Path]]:
    """A real syslog server: its port, the file of its root, and the file that it writes."""
    program = require_tool("rsyslog")
    require_tool("rsyslog-openssl")
    _, root = tls_server(tmp_path)
    (port,) = free_ports(1)
    received = tmp_path / "received"
    (tmp_path / "rsyslog.conf").write_text(f"""
global(workDirectory="{tmp_path}" defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="{root}"
  defaultNetstreamDriverCertFile="{tmp_path}/server.pem" defaultNetstreamDriverKeyFile="{tmp_path}/server.key")
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon")
template(name="parts" type="string"
  string="%pri%|%timestamp:::date-rfc3339%|%app-name%|%msgid%|%structured-data%|%msg%\\n")
input(type="imtcp" port="{port}" address="127.0.0.1")
action(type="omfile" file="{received}" template="parts")
""")
    command: list[str | Path] = [program, "-n", "-f", tmp_path / "rsyslog.conf", "-i", tmp_path / "rsyslog.pid"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        yield port, root, received
        process.terminate()


def test_rsyslog_receives_everything_over_tls(make_ca: MakeCa, rsyslog: tuple[int, Path, Path]) -> None:
    port, root, received = rsyslog
    sink = Syslog(name="siem", host="127.0.0.1", port=port, ca_file=root, batch=60)
    ca = make_ca(sink)
    add(ca.database, 150)
    seal(ca.database)

    def deliver() -> bool:
        try:
            audit_export.deliver(ca, sink)
        except ServiceUnavailable:
            return False  # it is not there yet, or ended a connection badly, as rsyslog does now and then
        return True

    eventually(deliver, "taken")
    assert audit_lag.lags(ca)["sink siem"] == 0
    eventually(lambda: received.exists() and received.read_text().count("\n") >= 150, "written")
    # A connection that rsyslog ends badly leaves torn lines now and then; their events came again, whole.
    lines = [line.split("|", 5) for line in received.read_text().splitlines() if line.startswith("109|")]
    lines = [line for line in lines if line[-1].strip().endswith("}")]
    assert {tuple(line[:1] + line[2:4]) for line in lines} == {("109", "acme-ca", "order.created")}
    sequence = [line[4] for line in lines]
    assert list(dict.fromkeys(sequence)) == [f'[meta sequenceId="{seq}"]' for seq in range(1, 151)]
    seqs = [json.loads(line[5].removeprefix("\ufeff").strip())["seq"] for line in lines]
    assert sequence == [f'[meta sequenceId="{seq}"]' for seq in seqs]


def test_syslog_server_of_another_root_gets_nothing(
    make_ca: MakeCa, rsyslog: tuple[int, Path, Path], settings: Config
) -> None:
    port, _, received = rsyslog
    sink = Syslog(name="siem", host="127.0.0.1", port=port, ca_file=settings.service.issuer.root, timeout=5.0)
    ca = make_ca(sink)
    add(ca.database, 1)
    seal(ca.database)

    def verify_fails() -> bool:
        with pytest.raises(ServiceUnavailable) as refused:
            audit_export.deliver(ca, sink)
        return "certificate verify failed" in refused.value.detail

    eventually(verify_fails, "refused")
    assert not received.exists() or received.read_text() == ""
