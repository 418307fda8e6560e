"""Issuers that follow each other by themselves, over simulated years, whatever dies in between."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp

import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from acme_ca import clock, config, metrics
from acme_ca.authority import Authority
from acme_ca.ceremony import rotation, succession
from acme_ca.ceremony.configured import root_key_in
from acme_ca.clock import CLOCK
from acme_ca.config import Config
from acme_ca.config.rotation import Rotation
from acme_ca.db import Database
from acme_ca.identifiers import Identifier
from acme_ca.issuers import key_of
from acme_ca.keys import AnyKey
from acme_ca.migrations.upgrade import upgrade
from acme_ca.pki.generations import Stage
from acme_ca.pki.issuer import MARGIN, Issuer, new_serial
from acme_ca.pki.leaf import LeafRequest
from acme_ca.problems import ServiceUnavailable
from acme_ca.services import distrust, generations
from tests.support import clocks
from tests.support.ca import make_ca_files, with_environment
from tests.support.rotation import line

DAY = timedelta(days=1)
LAST_DAYS = 10 * DAY  # of the root, in which nobody makes another issuer
NAME = Identifier("dns", "a.test.localhost")
LEAF_KEY = ec.generate_private_key(ec.SECP256R1()).public_key()
TEMPLATE = make_ca_files(Path(mkdtemp(prefix="succession-")), "--environment", "test").parent


def copy(folder: Path, **changes: object) -> Config:
    """A CA whose root's key is here, with some settings of `rotation`."""
    shutil.copytree(TEMPLATE, folder)
    found = config.load(folder / "acme-ca.toml")
    key = root_key_in(found, folder / "keys", found.environment["test"].issuer[0].root)
    rules = Rotation.model_validate({"root_key": key, **changes})
    database = found.database.model_copy(update={"url": f"sqlite:///{folder / 'test.db'}"})
    migrated = Database(database.url)
    upgrade(migrated)
    migrated.close()
    return with_environment(found.model_copy(update={"database": database}), "test", rotation=rules)


def sign(ca: Authority, lifetime: timedelta) -> tuple[Issuer, x509.Certificate]:
    """Issue as finalize does: choose the issuer, sign, lint and verify up to the root."""
    now = clock.now().replace(microsecond=0)
    environment = ca.environments["test"]
    profile = environment.profiles["server-8h"]
    issuer = environment.issuer(now, lifetime, profile)
    request = LeafRequest(
        identifiers=(NAME,),
        uris=(),
        public_key=LEAF_KEY,
        profile=profile,
        serial=new_serial(),
        not_before=now - timedelta(minutes=1),
        not_after=now + lifetime,
    )
    return issuer, issuer.issue(request)


class Years(RuleBasedStateMachine):
    """A CA with a worker that comes now and then, for as long as its root lives."""

    def __init__(self) -> None:
        super().__init__()
        CLOCK.ahead = timedelta()
        self.folder = Path(mkdtemp(prefix="years-"))
        self.config = copy(self.folder / "ca", lifetime=120 * 86400)
        self.ca = Authority(self.config)
        self.leafs: list[tuple[Issuer, x509.Certificate]] = []
        self.root_ends = self.ca.environments["test"].issuers[0].root.not_valid_after_utc

    @initialize(is_late=st.booleans())
    def begins(self, is_late: bool) -> None:  # noqa: FBT001 - hypothesis passes it by name
        """Before the first issuer is to be followed; or long after it has ended, and the root soon will."""
        clocks.wait((self.root_ends - 200 * DAY if is_late else self.due() - 10 * DAY) - clock.now())
        self.worker_comes()

    def due(self) -> datetime:
        found = line(self.ca)
        return found.rules.due_at(found.newest)

    def teardown(self) -> None:
        self.ca.close()
        CLOCK.ahead = timedelta()
        shutil.rmtree(self.folder)

    @rule(days=st.integers(1, 40))
    def some_days_pass(self, days: int) -> None:
        """The worker comes each day."""
        for _ in range(days):
            clocks.wait(DAY)
            self.worker_comes()

    @rule(hours=st.integers(1, 30))
    def some_hours_pass(self, hours: int) -> None:
        clocks.wait(timedelta(hours=hours))

    @rule()
    def worker_comes(self) -> None:
        generations.keep_up(self.ca)
        succession.follow(self.ca)
        self.ca.see_issuers()

    @rule()
    def processes_start_again(self) -> None:
        self.ca.close()
        self.ca = Authority(self.config)

    @rule(with_key=st.booleans())
    def an_operator_begins_and_dies(self, with_key: bool) -> None:  # noqa: FBT001 - hypothesis passes it by name
        """After the claim, or after the key was made: nothing is published."""
        found = line(self.ca)
        with suppress(Exception):
            plan = rotation.plan(self.config, self.ca.database, found, None)
            generation = generations.begin(self.ca.database, found, plan.generation, "dying")
            backend: AnyKey = key_of(found.settings, generation.number)
            if with_key and not backend.exists():
                backend.create(plan.kind)
        clocks.wait(generations.LEASE)

    @precondition(lambda self: clock.now() < self.root_ends - LAST_DAYS)
    @rule(lifetime=st.integers(1, 8))
    def a_leaf_is_issued(self, lifetime: int) -> None:
        self.ca.see_issuers()
        self.leafs.append(sign(self.ca, timedelta(hours=lifetime)))

    @invariant()
    def one_signs_until_the_root_ends(self) -> None:
        self.ca.see_issuers()
        found = line(self.ca)
        stages = found.stages(clock.now())
        assert list(stages.values()).count(Stage.ACTIVE) == 1
        if clock.now() < self.root_ends - LAST_DAYS:
            sign(self.ca, timedelta(hours=8))
        elif clock.now() + timedelta(hours=8) + MARGIN > self.root_ends:
            with pytest.raises(ServiceUnavailable):
                sign(self.ca, timedelta(hours=8))

    @invariant()
    def no_leaf_outlives_its_chain_or_what_is_published(self) -> None:
        known = {issuer.id for issuer in self.ca.environments["test"].generations}
        for issuer, leaf in self.leafs:
            assert all(
                leaf.not_valid_after_utc <= above.not_valid_after_utc
                for above in (issuer.certificate, *issuer.chain, issuer.root)
            )
            assert leaf.not_valid_after_utc <= clock.now() or issuer.id in known
        self.leafs = [one for one in self.leafs if one[1].not_valid_after_utc > clock.now()]


TestYears = Years.TestCase
TestYears.settings = settings(
    max_examples=10, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Authority]:
    return lambda **changes: Authority(copy(tmp_path / "ca", **changes))


def events(ca: Authority) -> list[str]:
    with structlog.testing.capture_logs() as logs:
        succession.follow(ca)
    return [entry["event"] for entry in logs if entry["log_level"] == "warning"]


def test_the_worker_rotates_when_it_is_due_and_not_before(make: Callable[..., Authority]) -> None:
    ca, other = make(), None
    with clocks.moving():
        assert succession.follow(ca) == 0
        found = line(ca)
        due_at = found.rules.due_at(found.newest)
        gauge = metrics.ISSUER_ROTATION_DUE.labels("test", "test-1")
        assert gauge._value.get() == due_at.timestamp()
        clocks.wait(due_at - clock.now())
        other = Authority(ca.config)
        assert (succession.follow(ca), succession.follow(other)) == (1, 0)
        assert [issuer.id for issuer in ca.environments["test"].generations] == ["test-1", "test-2"]
        assert gauge._value.get() > due_at.timestamp() or succession.follow(ca) == 0
    ca.close()
    other.close()


def test_the_worker_follows_one_that_is_distrusted_at_once(make: Callable[..., Authority]) -> None:
    ca = make()
    wish = distrust.Wish(reason="stolen", spread=3600, force=True)
    distrust.distrust(ca, ca.environments["test"], "test-1", wish, by="uid:0")
    with pytest.raises(ServiceUnavailable):
        sign(ca, timedelta(hours=1))
    assert (succession.follow(ca), succession.follow(ca)) == (1, 0)
    assert sign(ca, timedelta(hours=1))[0].id == "test-2"
    ca.close()


def test_an_issuer_that_is_not_valid_yet_is_no_reason_to_fail(make: Callable[..., Authority]) -> None:
    """The clock was set back: nobody signs, and everything is published."""
    ca = make()
    with clocks.moving():
        clocks.wait(-2 * DAY)
        ca.see_issuers()
        assert [issuer.id for issuer in ca.environments["test"].issuers] == ["test-1"]
        with pytest.raises(ServiceUnavailable):
            sign(ca, timedelta(hours=1))
    ca.close()


def test_generations_without_their_table_are_told(make: Callable[..., Authority]) -> None:
    ca = make()
    with clocks.moving():
        found = line(ca)
        clocks.wait(found.rules.due_at(found.newest) - clock.now())
        assert succession.follow(ca) == 1
    (issuer,) = ca.config.environment["test"].issuer
    other = with_environment(ca.config, "test", issuer=(issuer.model_copy(update={"name": "other"}),))
    with structlog.testing.capture_logs() as logs:
        Authority(other).close()
    assert [entry["issuer"] for entry in logs if entry["event"] == "issuer.orphaned"] == ["test-2"]
    ca.close()


@pytest.mark.parametrize("changes", [{"root_key": None}, {"automatic": False}, {"before": 600_000_000}])
def test_operators_are_told_once_a_day_where_the_worker_cannot(
    make: Callable[..., Authority], changes: dict[str, object]
) -> None:
    ca = make(**changes)
    with clocks.moving():
        found = line(ca)
        clocks.wait(max(timedelta(), found.rules.due_at(found.newest) - clock.now()))
        succession._told.clear()
        assert events(ca) == ["issuer.rotation_due"]
        assert events(ca) == []
        clocks.wait(DAY)
        assert events(ca) == ["issuer.rotation_due"]
        assert [one.id for one in line(ca).generations] == ["test-1"]
    ca.close()
