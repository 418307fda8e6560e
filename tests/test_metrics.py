"""Metrics of one process and of several."""

import os
import subprocess
import sys
from pathlib import Path

from prometheus_client import Counter, Gauge, Histogram

from acme_ca import metrics

WORK = """
import os, sys
from acme_ca import metrics
metrics.NONCES.labels("prod", "accepted").inc()
metrics.ISSUANCE_SECONDS.labels("prod").observe(0.002)
metrics.ISSUER_NOT_AFTER.labels("prod", "prod-1").set(int(sys.argv[1]))
print(os.getpid())
"""
SHOW = """
import sys
from acme_ca import metrics
for pid in sys.argv[1:]:
    metrics.child_exit(int(pid))
sys.stdout.buffer.write(metrics.render())
"""


def run(folder: Path, code: str, *arguments: str) -> str:
    environment = {**os.environ, metrics.FOLDER_VARIABLE: str(folder)}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def test_metrics_of_all_processes_are_summed(tmp_path: Path) -> None:
    pids = [run(tmp_path, WORK, moment).strip() for moment in ("1000", "2000")]
    text = run(tmp_path, SHOW)
    assert 'acme_ca_nonces_total{environment="prod",result="accepted"} 2.0' in text
    assert 'acme_ca_issuance_duration_seconds_bucket{environment="prod",le="0.001"} 0.0' in text
    assert 'acme_ca_issuance_duration_seconds_bucket{environment="prod",le="0.005"} 2.0' in text
    assert 'acme_ca_issuer_expiration_timestamp_seconds{environment="prod",issuer="prod-1"} 2000.0' in text

    after = run(tmp_path, SHOW, *pids)
    assert 'acme_ca_nonces_total{environment="prod",result="accepted"} 2.0' in after, "counters never go back"
    assert "acme_ca_issuer_expiration_timestamp_seconds{" not in after


def test_one_process_shows_its_own() -> None:
    metrics.NONCES.labels("dev", "refused").inc()
    assert b'acme_ca_nonces_total{environment="dev",result="refused"}' in metrics.render()
    metrics.child_exit(1)


def test_every_metric_has_the_prefix_a_help_text_and_a_unit() -> None:
    found = {name: value for name, value in vars(metrics).items() if isinstance(value, Counter | Gauge | Histogram)}
    assert len(found) >= 10
    for name, metric in found.items():
        (family,) = metric.describe()
        assert family.name.startswith("acme_ca_"), name
        assert family.documentation.endswith("."), name
        if isinstance(metric, Histogram):
            assert family.name.endswith("_duration_seconds"), name
