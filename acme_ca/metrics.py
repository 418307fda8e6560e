"""Every metric, once. Prometheus exposition, summed over all processes.

The names follow what operators of ACME know: label `endpoint` and `code` as in Boulder's response times,
`..._duration_seconds` and `..._expiration_timestamp_seconds` as in cert-manager. Each carries its environment.

The supervisor sets PROMETHEUS_MULTIPROC_DIR before this module is imported: prometheus-client then keeps all values in
files of that folder, one set for each process, and `render` reads them all.
"""

import os
from functools import lru_cache
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

CONTENT_TYPE = CONTENT_TYPE_LATEST
Labelled = TypeVar("Labelled", Counter, Histogram, Gauge)
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

# Few buckets: each is a time series for each endpoint. They tell a request without validation (milliseconds), one that
# waited for a validation (300 ms), and one that a client gives up on (cert-manager: 10 s).
REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.1, 0.3, 1.0, 10.0)
# A target on the same network, one that is slow, one attempt's deadline, one repeated until the patience is over.
VALIDATION_BUCKETS = (0.05, 0.3, 1.0, 3.0, 10.0, 60.0)
# With a key in memory about a millisecond, with an HSM tens, with a cloud service hundreds.
ISSUANCE_BUCKETS = (0.0005, 0.001, 0.005, 0.025, 0.1, 0.5, 2.5)

REGISTRY = CollectorRegistry(auto_describe=True)  # without the process figures that one process has only of itself

HTTP_REQUESTS = Counter(
    "acme_ca_http_requests",
    "Requests answered, by endpoint and HTTP status code.",
    ("environment", "endpoint", "code"),
    registry=REGISTRY,
)
HTTP_REQUEST_SECONDS = Histogram(
    "acme_ca_http_request_duration_seconds",
    "Time from a request's arrival to its answer, by endpoint.",
    ("environment", "endpoint"),
    registry=REGISTRY,
    buckets=REQUEST_BUCKETS,
)
PROBLEMS = Counter(
    "acme_ca_problems",
    "Problem documents sent, by error type (RFC 8555 section 6.7).",
    ("environment", "type"),
    registry=REGISTRY,
)
NONCES = Counter(
    "acme_ca_nonces",
    "Nonces that came back, by result: accepted or refused.",
    ("environment", "result"),
    registry=REGISTRY,
)
ACCOUNTS_CREATED = Counter(
    "acme_ca_accounts_created",
    "Accounts created.",
    ("environment",),
    registry=REGISTRY,
)
RATE_LIMITED = Counter(
    "acme_ca_rate_limited",
    "Requests refused because of a rate limit, by the limit's setting.",
    ("environment", "limit"),
    registry=REGISTRY,
)
ORDERS_CREATED = Counter(
    "acme_ca_orders_created",
    "Orders created, by their first status: ready when all authorizations were reused.",
    ("environment", "status"),
    registry=REGISTRY,
)
VALIDATIONS = Counter(
    "acme_ca_validations",
    "Challenges decided, by challenge type and result.",
    ("environment", "challenge", "result"),
    registry=REGISTRY,
)
VALIDATION_SECONDS = Histogram(
    "acme_ca_validation_duration_seconds",
    "Time of one validation attempt, by challenge type.",
    ("environment", "challenge"),
    registry=REGISTRY,
    buckets=VALIDATION_BUCKETS,
)
CERTIFICATES_ISSUED = Counter(
    "acme_ca_certificates_issued",
    "Certificates issued, by profile.",
    ("environment", "profile"),
    registry=REGISTRY,
)
CERTIFICATES_REVOKED = Counter(
    "acme_ca_certificates_revoked",
    "Certificates revoked, by reason (RFC 5280 section 5.3.1).",
    ("environment", "reason"),
    registry=REGISTRY,
)
POLICY_UNUSABLE = Gauge(
    "acme_ca_policy_unusable",
    "Whether a process cannot read the policy that was applied last, and works with the one before.",
    ("environment",),
    registry=REGISTRY,
    multiprocess_mode="livemax",
)
REPLACEMENT_CERTIFICATES = Gauge(
    "acme_ca_replacement_certificates",
    "Certificates of mass replacements that are going on, by state: total, replaced, remaining (valid, not replaced).",
    ("environment", "state"),
    registry=REGISTRY,
    multiprocess_mode="livemostrecent",
)
PAUSES = Counter(
    "acme_ca_pauses",
    "Names that were paused for an account, by reason: failures or renewals.",
    ("environment", "reason"),
    registry=REGISTRY,
)
ISSUANCE_SECONDS = Histogram(
    "acme_ca_issuance_duration_seconds",
    "Time to build, lint, sign and verify a certificate.",
    ("environment",),
    registry=REGISTRY,
    buckets=ISSUANCE_BUCKETS,
)
KEY_SIGNATURES = Counter(
    "acme_ca_key_signatures",
    "Signatures asked of keys in HSMs, services and the signer, by outcome: ok, away, refused, error.",
    ("key", "outcome"),
    registry=REGISTRY,
)
SIGNER_REQUESTS = Counter(
    "acme_ca_signer_requests",
    "Signatures that the signer was asked for, by outcome: signed, refused, away.",
    ("issuer", "outcome"),
    registry=REGISTRY,
)
KEY_SECONDS = Histogram(
    "acme_ca_key_signature_duration_seconds",
    "Time that a key in an HSM or service takes to sign.",
    ("key",),
    registry=REGISTRY,
    buckets=ISSUANCE_BUCKETS,
)
KEY_SESSIONS = Counter(
    "acme_ca_key_sessions",
    "Sessions opened with tokens: the first one of each process, and one whenever it was lost.",
    ("key",),
    registry=REGISTRY,
)
KEY_UP = Gauge(
    "acme_ca_key_up",
    "Whether a key in an HSM or service answered last: 1 or 0; the worst of all processes.",
    ("key",),
    registry=REGISTRY,
    multiprocess_mode="livemin",
)
SHADOW_DIFFERENCES = Counter(
    "acme_ca_policy_shadow_differences",
    "What a policy in the shadow would have decided otherwise: deny, allow or shorten.",
    ("environment", "outcome"),
    registry=REGISTRY,
)
SHADOW_ERRORS = Counter(
    "acme_ca_policy_shadow_errors",
    "Evaluations of a policy in the shadow that failed.",
    ("environment",),
    registry=REGISTRY,
)
CRL_THIS_UPDATE = Gauge(
    "acme_ca_crl_this_update_timestamp_seconds",
    "When the revocation list was made (Unix time). Shard is empty for an issuer's full list.",
    ("environment", "issuer", "shard"),
    registry=REGISTRY,
    multiprocess_mode="livemostrecent",
)
CRL_NEXT_UPDATE = Gauge(
    "acme_ca_crl_next_update_timestamp_seconds",
    "Until when the revocation list is good (Unix time).",
    ("environment", "issuer", "shard"),
    registry=REGISTRY,
    multiprocess_mode="livemostrecent",
)
CRL_NUMBER = Gauge(
    "acme_ca_crl_number",
    "Number of the revocation list (RFC 5280 section 5.2.3).",
    ("environment", "issuer", "shard"),
    registry=REGISTRY,
    multiprocess_mode="livemostrecent",
)
CRL_ENTRIES = Gauge(
    "acme_ca_crl_entries",
    "Certificates on the revocation list.",
    ("environment", "issuer", "shard"),
    registry=REGISTRY,
    multiprocess_mode="livemostrecent",
)
CRL_BYTES = Gauge(
    "acme_ca_crl_size_bytes",
    "Size of the revocation list.",
    ("environment", "issuer", "shard"),
    registry=REGISTRY,
    multiprocess_mode="livemostrecent",
)
OCSP_ANSWERS = Counter(
    "acme_ca_ocsp_answers",
    "OCSP answers: good, revoked or unknown for each certificate, or why there is none (RFC 6960 section 2.3).",
    ("environment", "status"),
    registry=REGISTRY,
)
RESPONDER_NOT_AFTER = Gauge(
    "acme_ca_ocsp_responder_expiration_timestamp_seconds",
    "When the certificate of an issuer's OCSP responder on this host expires (Unix time); 0 when it has none.",
    ("environment", "issuer"),
    registry=REGISTRY,
    multiprocess_mode="livemostrecent",
)
ISSUER_NOT_AFTER = Gauge(
    "acme_ca_issuer_expiration_timestamp_seconds",
    "When an issuer's certificate expires (Unix time). It stops signing earlier, by its longest certificate.",
    ("environment", "issuer"),
    registry=REGISTRY,
    multiprocess_mode="livemostrecent",
)
ISSUER_ROTATION_DUE = Gauge(
    "acme_ca_issuer_rotation_due_timestamp_seconds",
    "When the next issuer after the newest one of a line is to be published (Unix time).",
    ("environment", "issuer"),
    registry=REGISTRY,
    multiprocess_mode="livemostrecent",
)
ISSUER_CLOSED = Gauge(
    "acme_ca_issuer_closed",
    "Whether a process cannot open the key of a published issuer: 1 or 0; the worst of all processes.",
    ("environment", "issuer"),
    registry=REGISTRY,
    multiprocess_mode="livemax",
)
AUDIT_EVENTS = Counter(
    "acme_ca_audit_events",
    "Audit events sealed into the hash chain, by event.",
    ("environment", "event"),
    registry=REGISTRY,
)
AUDIT_SEALED = Gauge(
    "acme_ca_audit_sealed_events",
    "The last place of the audit trail's hash chain.",
    registry=REGISTRY,
    multiprocess_mode="livemax",
)
AUDIT_CHECKPOINT = Gauge(
    "acme_ca_audit_checkpoint_timestamp_seconds",
    "When the last checkpoint of the audit trail was signed (Unix time).",
    registry=REGISTRY,
    multiprocess_mode="livemax",
)
AUDIT_UNSEALED = Gauge(
    "acme_ca_audit_unsealed_events",
    "Audit events that are not sealed into the hash chain yet.",
    registry=REGISTRY,
    multiprocess_mode="livemostrecent",
)
AUDIT_SINK_LAG = Gauge(
    "acme_ca_audit_sink_lag_events",
    "Sealed audit events that a sink does not have yet.",
    ("sink",),
    registry=REGISTRY,
    multiprocess_mode="livemostrecent",
)
CONFIG_LAST_RELOAD_SUCCESSFUL = Gauge(
    "acme_ca_config_last_reload_successful",
    "Whether the configuration file was good when it was last read: 1, or 0 and the previous one is in use.",
    registry=REGISTRY,
    multiprocess_mode="livemostrecent",
)


@lru_cache(maxsize=4096)
def child(metric: Labelled, *labels: str | int) -> Labelled:
    """Return the metric with these labels: prometheus-client would look them up under a lock each time."""
    return metric.labels(*labels)


def render() -> bytes:
    """Return all metrics in the Prometheus text format: of all processes when there are several."""
    if FOLDER_VARIABLE not in os.environ:
        return generate_latest(REGISTRY)
    everything = CollectorRegistry()
    MultiProcessCollector(everything)  # type: ignore[no-untyped-call]  # prometheus-client leaves it without types
    return generate_latest(everything)


def child_exit(pid: int) -> None:
    """Forget what only a living process can say; its counters stay, for counters never go back."""
    if FOLDER_VARIABLE in os.environ:
        mark_process_dead(pid)  # type: ignore[no-untyped-call]  # prometheus-client leaves it without types
