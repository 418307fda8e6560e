"""The SPIFFE Workload API on a real socket, spoken to by the client of PyPI's `spiffe` and by gRPC alone."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import grpc  # type: ignore[import-untyped]  # grpcio has no types
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from spiffe import TrustDomain, WorkloadApiClient, X509Source
from spiffe._proto import workload_pb2

from acme_ca.agent.errors import AgentError
from acme_ca.agent.spiffe_messages import X509Svid
from acme_ca.agent.spiffe_socket import MAX_STREAMS, WorkloadApi
from tests.support.pop import Authority
from tests.support.server import eventually

ID = "spiffe://test.localhost/ns/pay/sa/api"
ROOT = Authority.root("workload root", 41, uri="spiffe://test.localhost")
ISSUING = ROOT.below("workload issuing", 42)
PATIENCE = 60.0  # seconds; only what hangs takes so long


def svid(serial: int = 1) -> X509Svid:
    """An SVID as the CA would issue it."""
    holder = ISSUING.leaf(x509.UniformResourceIdentifier(ID), serial=serial)
    chain = b"".join(certificate.public_bytes(Encoding.DER) for certificate in holder.chain)
    key = holder.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return X509Svid(ID, chain, key, ROOT.certificate.public_bytes(Encoding.DER))


@pytest.fixture
def socket_path(tmp_path: Path) -> Path:
    return tmp_path / "workload.sock"


@pytest.fixture
def api(socket_path: Path) -> Iterator[WorkloadApi]:
    served = WorkloadApi(f"unix://{socket_path}")
    try:
        yield served
    finally:
        served.stop()


def call(path: Path, method: str, metadata: Sequence[tuple[str, str]]) -> grpc.StatusCode:
    """The status of a call that is expected to fail."""
    with grpc.insecure_channel(f"unix:{path}") as channel:
        stream = channel.unary_stream(f"/SpiffeWorkloadAPI/{method}")(b"", metadata=metadata, timeout=PATIENCE)
        with pytest.raises(grpc.RpcError) as refused:
            next(stream)
    return refused.value.code()


def test_the_client_gets_the_svid_and_the_bundle(api: WorkloadApi, socket_path: Path) -> None:
    api.current.replace(svid())
    with closing(WorkloadApiClient(f"unix://{socket_path}", default_timeout=PATIENCE)) as client:
        found = client.fetch_x509_svid()
        bundles = client.fetch_x509_bundles()
    assert str(found.spiffe_id) == ID
    assert len(found.cert_chain) == 2
    assert found.private_key.public_key() == found.leaf.public_key()
    bundle = bundles.get_bundle_for_trust_domain(TrustDomain("test.localhost"))
    assert bundle is not None
    assert bundle.x509_authorities == {ROOT.certificate}


def test_a_rotation_is_pushed(api: WorkloadApi, socket_path: Path) -> None:
    api.current.replace(svid(1))
    with closing(X509Source(socket_path=f"unix://{socket_path}", timeout_in_seconds=PATIENCE)) as source:
        assert source.get_x509_context().default_svid.leaf.serial_number == 1
        api.current.replace(svid(2))
        eventually(lambda: source.get_x509_context().default_svid.leaf.serial_number == 2, "the second SVID")


def test_a_stream_that_comes_early_waits_for_the_first_certificate(api: WorkloadApi, socket_path: Path) -> None:
    with grpc.insecure_channel(f"unix:{socket_path}") as channel:
        method = channel.unary_stream("/SpiffeWorkloadAPI/FetchX509SVID")
        stream = method(b"", metadata=[("workload.spiffe.io", "true")], timeout=PATIENCE, wait_for_ready=True)
        api.current.replace(svid())
        assert workload_pb2.X509SVIDResponse.FromString(next(stream)).svids[0].spiffe_id == ID
        stream.cancel()


@pytest.mark.parametrize("metadata", [(), (("workload.spiffe.io", "false"),)])
@pytest.mark.parametrize("method", ["FetchX509SVID", "FetchX509Bundles"])
def test_a_call_without_the_security_header_is_refused(
    api: WorkloadApi, socket_path: Path, method: str, metadata: Sequence[tuple[str, str]]
) -> None:
    api.current.replace(svid())
    assert call(socket_path, method, metadata) == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("method", ["FetchJWTSVID", "FetchJWTBundles", "ValidateJWTSVID", "Other"])
@pytest.mark.usefixtures("api")
def test_other_methods_are_unimplemented(socket_path: Path, method: str) -> None:
    assert call(socket_path, method, [("workload.spiffe.io", "true")]) == grpc.StatusCode.UNIMPLEMENTED


def test_streams_that_were_given_up_make_room(api: WorkloadApi, socket_path: Path) -> None:
    api.current.replace(svid())
    with grpc.insecure_channel(f"unix:{socket_path}") as channel:
        method = channel.unary_stream("/SpiffeWorkloadAPI/FetchX509SVID")
        for _ in range(MAX_STREAMS + 10):
            stream = method(b"", metadata=[("workload.spiffe.io", "true")], timeout=PATIENCE)
            assert next(stream)
            stream.cancel()
            eventually(stream.done, "the end of the stream")


def test_the_socket_is_for_owner_and_group_and_goes_with_the_server(tmp_path: Path) -> None:
    path = tmp_path / "workload.sock"
    served = WorkloadApi(f"unix://{path}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    served.stop()
    assert not path.exists()


def test_a_socket_that_an_ended_process_left_is_replaced(tmp_path: Path, api: WorkloadApi, socket_path: Path) -> None:
    del api
    (tmp_path / "other").mkdir()
    left = tmp_path / "other" / "left.sock"
    socket_path.rename(left)
    served = WorkloadApi(f"unix://{left}")
    served.current.replace(svid())
    with closing(WorkloadApiClient(f"unix://{left}", default_timeout=PATIENCE)) as client:
        assert str(client.fetch_x509_svid().spiffe_id) == ID
    served.stop()


@pytest.mark.parametrize("address", ["/run/w.sock", "tcp://127.0.0.1:1", "unix://relative.sock", "unix:///no/such/a"])
def test_an_address_that_cannot_be_served_is_explained(address: str) -> None:
    with pytest.raises(AgentError, match=r"expected unix:///|cannot be made"):
        WorkloadApi(address)


@given(st.builds(X509Svid, st.just(ID), st.binary(max_size=70_000), st.binary(max_size=300), st.binary(max_size=300)))
def test_what_is_encoded_is_decoded_by_protobuf(made: X509Svid) -> None:
    (found,) = workload_pb2.X509SVIDResponse.FromString(made.svid_response()).svids
    assert (found.spiffe_id, found.x509_svid, found.x509_svid_key, found.bundle) == (
        made.spiffe_id,
        made.chain,
        made.key,
        made.bundle,
    )
    bundles = workload_pb2.X509BundlesResponse.FromString(made.bundles_response()).bundles
    assert dict(bundles) == {"spiffe://test.localhost": made.bundle}
