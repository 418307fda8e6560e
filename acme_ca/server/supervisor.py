"""The supervisor: starts the children, starts again what dies, drains on SIGTERM, changes configuration on SIGHUP.

It opens the listening sockets and its children inherit them, so that a listener can be replaced, or die, without a
connection being refused. Changing the configuration means a whole new generation of children beside the old one; only
when all of it is ready is the old one told to finish. If the new one does not come up, the old one never noticed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from gunicorn.systemd import sd_notify

from acme_ca import issuer_keys, keys, logs, metrics
from acme_ca.authority import Authority
from acme_ca.config import Config, ConfigError, load
from acme_ca.pki import crl
from acme_ca.problems import ServiceUnavailable
from acme_ca.server.application import NOT_ASSEMBLED
from acme_ca.server.children import Child, Role, start
from acme_ca.server.listeners import GRACE
from acme_ca.server.signals import RELOAD, STOP, Signals
from acme_ca.server.sockets import Listening, listen
from acme_ca.services import listener

STARTING = 120.0  # seconds in which children have to be ready; a busy host takes its time
RENEWAL_CHECK = 60.0  # seconds between looks at the listener's certificate
BACKOFF_FIRST, BACKOFF_MAX = 0.5, 30.0  # seconds before a child that died is started again, doubling
SETTLED = 60.0  # seconds after which a child that dies counts as having worked
TICK = 1.0  # seconds between looks at everything, when nothing happens

log = structlog.get_logger(__name__)


class StartError(Exception):
    """The CA cannot be served. The message says why."""


@dataclass(slots=True)
class Generation:
    """The children that serve one accepted configuration."""

    config: Config
    config_path: Path
    listening: Listening
    roles: tuple[Role, ...]
    children: dict[Role, Child] = field(default_factory=dict)
    failures: dict[Role, int] = field(default_factory=dict)
    due: dict[Role, float] = field(default_factory=dict)

    def start(self, role: Role) -> None:
        """Start a child."""
        self.children[role] = start(role, self.config, self.config_path, self.listening.get(role))

    def look_after(self) -> None:
        """Start again what died, at once the first time and then with growing pauses."""
        now = time.monotonic()
        for role, child in list(self.children.items()):
            if not child.is_running:
                self._bury(role, child, now)
        for role, moment in list(self.due.items()):
            if moment <= now:
                del self.due[role]
                self.start(role)

    def _bury(self, role: Role, child: Child, now: float) -> None:
        child.hang_up()
        metrics.child_exit(child.process.pid)
        del self.children[role]
        lived = now - child.started
        failures = self.failures[role] = 0 if lived > SETTLED else self.failures.get(role, -1) + 1
        pause = min(BACKOFF_FIRST * 2**failures, BACKOFF_MAX) if failures else 0.0
        self.due[role] = now + pause
        log.error("child.died", role=role, exit=child.process.returncode, lived=round(lived, 1), again_in=pause)

    @property
    def is_ready(self) -> bool:
        """Whether all children serve."""
        return len(self.children) == len(self.roles) and all(child.is_ready for child in self.children.values())

    @property
    def any_dead(self) -> bool:
        """Whether a child ended."""
        return not all(child.is_running for child in self.children.values())

    @property
    def is_gone(self) -> bool:
        """Whether no child runs."""
        return not any(child.is_running for child in self.children.values())

    def why_not_ready(self) -> str:
        """Say which children are missing."""
        ended = [
            f"{role} ended with {child.process.returncode}"
            for role, child in self.children.items()
            if not child.is_running
        ]
        waiting = [role for role, child in self.children.items() if child.is_running and not child.is_ready]
        return "; ".join([*ended, *(f"{role} is not ready" for role in waiting)])

    def pipes(self) -> dict[int, Callable[[], None]]:
        """Return what is to be read while children start."""
        return {child.pipe: child.note_ready for child in self.children.values() if child.pipe is not None}

    def stop(self) -> None:
        """Ask all children to finish."""
        self.due.clear()
        for child in self.children.values():
            child.stop()

    def end(self) -> None:
        """End what still runs, and forget the children."""
        for child in self.children.values():
            child.kill()
            child.process.wait()
            child.hang_up()
            metrics.child_exit(child.process.pid)


class Supervisor:
    """Runs until it is told to stop. Made once in a process: it takes the process's signals."""

    def __init__(self, config: Config, config_path: Path, roles: tuple[Role, ...]) -> None:
        self._config = config
        self._config_path = config_path
        self._roles = roles
        self._signals = Signals()
        self._current: Generation | None = None
        self._numbers: Mapping[str, int] = {}
        self._retiring: list[tuple[Generation, float]] = []
        self._next_renewal = 0.0

    def run(self) -> None:
        """Serve; returns when all is drained. Raises StartError when it cannot even start."""
        _forget_the_dead(self._config.state / "metrics")
        try:
            self._numbers = self._rehearse(self._config)
        except ServiceUnavailable as problem:
            log.warning("serve.starts_without", reason=str(problem))  # the children wait for it to come back
        try:
            self._current = self._raise(self._config)
        except StartError:
            if self._signals.ask_to_stop:
                return
            raise
        self._accepted()
        self._notify("READY=1")
        try:
            self._watch(self._current)
        finally:
            self._notify("STOPPING=1")
            self._drain()

    def _watch(self, current: Generation) -> None:
        while (number := self._signals.next()) not in STOP:
            if number == RELOAD:
                current = self._current = self._reload(current)
            current.look_after()
            self._see_off()
            self._renew(current.config)
            self._signals.wait(TICK, current.pipes())

    def _reload(self, old: Generation) -> Generation:
        """Return the generation that serves from now on: a new one, or the old one when the new one is no good."""
        try:
            config = load(self._config_path)
            _require_same_state(old.config, config)
            numbers = self._rehearse(config)
            _require_no_older_lists(self._numbers, numbers)
            new = self._raise(config)
        except (ConfigError, StartError, ServiceUnavailable) as error:
            metrics.CONFIG_LAST_RELOAD_SUCCESSFUL.set(0)
            log.error("config.refused", reason=str(error), serving="the configuration before")  # noqa: TRY400 - no bug
            return old
        old.stop()
        self._retiring.append((old, time.monotonic() + GRACE + TICK))
        old.listening.close_what_is_not_in(new.listening)
        self._config = config
        self._numbers = numbers
        self._current = new
        self._accepted()
        return new

    def _rehearse(self, config: Config) -> Mapping[str, int]:
        """Do once what every child will do, so that what is wrong shows before a child dies of it.

        Returns the numbers of the roots' revocation lists. Raises StartError for what stays wrong, ServiceUnavailable
        for what may pass.
        """
        config = issuer_keys.beforehand(config)
        try:
            if not {"acme", "admin"}.isdisjoint(self._roles):
                listener.ensure(config)
            with closing(Authority(config)) as ca:
                ca.policies.require_usable()  # children serve with what they can use of them: here it is said
                return {name: crl.number_of(found) for name, found in ca.root_crls.items()}
        except ServiceUnavailable:
            raise
        except NOT_ASSEMBLED as error:
            raise StartError(str(error)) from error
        finally:
            keys.let_go()  # a session with an HSM is for those who sign

    def _raise(self, config: Config) -> Generation:
        """Start a generation and return it when it is ready; raises StartError, and nothing of it is left then."""
        present = None if self._current is None else self._current.listening
        roles = tuple(role for role in self._roles if _is_wanted(role, config))
        try:
            listening = listen(config, roles, present)
        except OSError as error:
            raise StartError(str(error)) from error
        generation = Generation(config, self._config_path, listening, roles)
        for role in roles:
            generation.start(role)
        deadline = time.monotonic() + STARTING
        while not generation.is_ready:
            if generation.any_dead or self._signals.ask_to_stop or time.monotonic() > deadline:
                reason = "told to stop" if self._signals.ask_to_stop else generation.why_not_ready()
                generation.end()
                listening.close_what_is_not_in(present)
                raise StartError(f"it did not come up: {reason}")
            self._signals.wait(TICK, generation.pipes())
        return generation

    def _accepted(self) -> None:
        logs.configure(self._config.log)
        metrics.CONFIG_LAST_RELOAD_SUCCESSFUL.set(1)
        url = self._config.external_url
        log.info(
            "serve.ready",
            roles=[] if self._current is None else list(self._current.roles),
            listening=None if self._current is None else self._current.listening.binds,
            directories=[f"{url}/acme/{name}/directory" for name in self._config.environment],
        )

    def _renew(self, config: Config) -> None:
        """Keep the listener's certificate good; that it fails is no reason to stop, for half its life is left."""
        if not {"acme", "admin"}.isdisjoint(self._roles) and time.monotonic() >= self._next_renewal:
            self._next_renewal = time.monotonic() + RENEWAL_CHECK
            try:
                listener.ensure(config)
            except NOT_ASSEMBLED:
                log.exception("listener.certificate_not_renewed")
            finally:
                keys.let_go()

    def _see_off(self) -> None:
        """Let the generations before go."""
        for generation, deadline in list(self._retiring):
            if generation.is_gone or time.monotonic() > deadline:
                generation.end()
                self._retiring.remove((generation, deadline))

    def _drain(self) -> None:
        """Let all children finish; a second signal to stop, or too much time, ends them."""
        deadline = time.monotonic() + GRACE + TICK
        if self._current is not None:
            self._current.stop()
            self._retiring.append((self._current, deadline))
        while self._retiring and self._signals.next() not in STOP:
            self._see_off()
            self._signals.wait(TICK, {})
        for generation, _ in self._retiring:
            generation.end()
        log.info("serve.stopped")

    def _notify(self, state: str) -> None:
        sd_notify(state, log)  # for systemd's Type=notify


def _is_wanted(role: Role, config: Config) -> bool:
    if role == "signer":
        return config.signer is not None and config.signer.start
    return role != "admin" or config.listener.admin is not None


def _require_same_state(old: Config, new: Config) -> None:
    if new.state != old.state:
        raise StartError(f"state = {str(new.state)!r} takes a restart: until then it is {str(old.state)!r}")


def _require_no_older_lists(old: Mapping[str, int], new: Mapping[str, int]) -> None:
    """Whoever has seen a list must never be shown an older one: something may be missing there. RFC 5280 §5.2.3."""
    for name, number in new.items():
        if number < old.get(name, number):
            raise StartError(f"{name} has number {number}, and the one that is served {old[name]}: bring the newer one")


def _forget_the_dead(folder: Path) -> None:
    """Remove the metrics of processes that are no more, so that they do not pile up from run to run."""
    for path in folder.glob("*.db"):
        pid = path.stem.rpartition("_")[2]
        if pid.isdigit() and not _is_alive(int(pid)):
            path.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
