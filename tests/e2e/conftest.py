"""One CA and one home for each client, shared by the tests of a process; their outcomes go into docs/clients.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard, cast

import pytest

from tests.e2e import workloads
from tests.e2e.ca import Ca, serving
from tests.e2e.outcomes import Outcomes
from tests.e2e.registry import CLIENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from tests.e2e.scenario import Client, Scenario
    from tests.e2e.workloads import Cluster

OUTCOMES = pytest.StashKey[Outcomes]()


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ca]:
    """A CA made by `acme-ca init` and run by `acme-ca serve`."""
    with serving(tmp_path_factory.mktemp("ca")) as running:
        yield running


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Kubernetes cluster, and a CA of its own that issues to its service accounts."""
    with workloads.serving(tmp_path_factory.mktemp("workloads")) as running:
        yield running


@pytest.fixture(scope="session")
def at_home(ca: Ca, tmp_path_factory: pytest.TempPathFactory) -> Callable[[type[Client]], Client]:
    """Give each client one home, so that it registers its account once."""
    homes: dict[type[Client], Client] = {}

    def client(kind: type[Client]) -> Client:
        if kind not in homes:
            homes[kind] = kind(ca, tmp_path_factory.mktemp("client") / "home")
        return homes[kind]

    return client


@pytest.fixture
def new_home(tmp_path: Path) -> Path:
    """A folder for a client of this test's own; the client makes it."""
    return tmp_path / "home"


def is_about_scenario(item: pytest.Item) -> TypeGuard[pytest.Function]:
    """Tell whether a test is a cell of the table."""
    return isinstance(item, pytest.Function) and {"kind", "scenario"} <= set(item.fixturenames)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note what becomes of each test that is about a client and a scenario."""
    report = yield
    if is_about_scenario(item) and (report.when == "call" or not report.passed):
        kind = cast("type[Client]", item.callspec.params["kind"])  # pytest does not know of what type parameters are
        scenario = cast("Scenario", item.callspec.params["scenario"])
        outcomes = item.session.stash.setdefault(OUTCOMES, Outcomes())
        outcomes.note(kind, scenario, report.outcome)
        if report.passed:
            outcomes.versions[kind.name] = kind.version()
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the table if this run, of which this process may be a part, tried everything."""
    if OUTCOMES in session.stash:
        session.stash[OUTCOMES].publish(CLIENTS)
