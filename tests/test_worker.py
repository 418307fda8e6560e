"""Jobs run beside each other, and none can stop another."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from acme_ca import config, metrics, worker
from acme_ca.authority import Authority
from acme_ca.config import Config
from acme_ca.problems import ServiceUnavailable
from tests.support.ca import RunningCa, make_ca_files, start_ca


@pytest.fixture(scope="session")
def worker_settings(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """What `acme-ca init` makes."""
    return config.load(make_ca_files(tmp_path_factory.mktemp("ca")))


@pytest.fixture
def ca(worker_settings: Config, tmp_path: Path, database_url: str) -> Iterator[RunningCa]:
    """A CA on each kind of database."""
    running = start_ca(worker_settings, database_url, tmp_path / "state")
    yield running
    running.close()


class Counted:
    """A job that counts its runs, and fails as it is told to."""

    def __init__(self, until: int, stopping: threading.Event, error: Exception | None = None) -> None:
        self.runs = 0
        self._until = until
        self._stopping = stopping
        self._error = error

    def __call__(self, _ca: Authority) -> int:
        """Count; end everything when it is enough."""
        self.runs += 1
        if self.runs == self._until:
            self._stopping.set()
        if self._error is not None:
            raise self._error
        return 1


@pytest.mark.parametrize("error", [ServiceUnavailable("the database does not answer"), KeyError("a mistake of ours")])
def test_a_job_that_fails_stops_neither_itself_nor_others(ca: RunningCa, error: Exception) -> None:
    stopping = threading.Event()
    failing, good = Counted(3, threading.Event(), error), Counted(100, stopping)
    worker.run(ca.authority, stopping, (worker.Job("failing", 0.001, failing), worker.Job("good", 0.001, good)))
    assert good.runs >= 100
    assert failing.runs >= 3


def test_a_job_at_hand_is_finished_before_the_worker_ends(ca: RunningCa) -> None:
    stopping, finished = threading.Event(), threading.Event()

    def slow(_ca: Authority) -> int:
        stopping.set()
        finished.wait(0.2)
        finished.set()
        return 0

    worker.run(ca.authority, stopping, (worker.Job("slow", 60.0, slow),))
    assert finished.is_set()


def test_every_job_runs_on_an_idle_ca(ca: RunningCa) -> None:
    for job in worker.JOBS:
        job.work(ca.authority)  # the versions of what is in force are new
        assert job.work(ca.authority) == 0


def test_the_end_of_every_issuer_is_shown(ca: RunningCa) -> None:
    worker.show_issuers(ca.authority)
    for environment in ca.authority.environments.values():
        for issuer in environment.issuers:
            gauge = metrics.ISSUER_NOT_AFTER.labels(environment.name, issuer.id)
            assert gauge.collect()
            assert gauge._value.get() == issuer.certificate.not_valid_after_utc.timestamp()


def test_a_job_that_fails_for_days_is_tried_on_and_on() -> None:
    """The pause doubles up to a bound, however often (CVE-2025-55753 was such a counter)."""
    job = worker.Job("failing", 0.5, lambda _ca: 0)
    pause = job.pace
    for _ in range(5000):
        pause = worker.next_pause(job, pause, worked=False)
    assert pause == worker.BACKOFF_MAX
    assert worker.next_pause(job, pause, worked=True) == job.pace
