"""Which servers are measured, in which order, and where: interleaved, so that all see the same noise."""

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import measure, namespace
from .daemon import FIXED_PORTS, Ports, UnavailableError
from .load import Generator, Load, Result, RunFailedError, Target
from .servers import Server
from .wire import NotLoopbackError

_QUIET = 0.10  # share of the machine that may be busy before a run


class Attached(Server):
    """A server that runs already."""

    name = "server"

    def __init__(self, target: Target) -> None:
        self._target = target

    def install(self, cache: Path) -> None:
        """Do nothing: it is there."""
        del cache

    @contextlib.contextmanager
    def start(self, folder: Path, ports: Ports) -> Iterator[Target]:
        """Leave it as it is."""
        del folder, ports
        yield self._target


@dataclass(slots=True)
class Bench:
    """Servers, loads and rounds: every server of a round sees the same noise of the machine."""

    servers: Sequence[Server]
    loads: Sequence[Load]
    rounds: int
    patience: float  # seconds to wait for a quiet machine before a run
    say: Callable[[str], None]

    def run(self, generator: Generator, skipped: dict[str, str]) -> list[Result]:
        """Measure all; a server that does not start or answer is noted as skipped."""
        results: list[Result] = []
        for number in range(1, self.rounds + 1):
            for server in self.servers:
                if server.name in skipped:
                    continue
                try:
                    results += self._round(generator, server, f"round {number}/{self.rounds} {server.name}")
                except (UnavailableError, RunFailedError, NotLoopbackError) as error:
                    skipped[server.name] = str(error)
        self.say("")
        return results

    def _round(self, generator: Generator, server: Server, title: str) -> Iterator[Result]:
        waiting, again = list(self.loads), 1
        while waiting:
            self.say(f"{title}: starting")
            with self._started(server, generator) as target:
                while waiting:
                    result = self._load(generator, target, waiting[0], title)
                    yield result
                    if not result.stalled or not again:
                        waiting.pop(0)
                    if result.stalled:  # a server that locked up helps no further: it is started anew
                        again = 0
                        break

    @contextlib.contextmanager
    def _started(self, server: Server, generator: Generator) -> Iterator[Target]:
        ports = Ports(generator.http_port, generator.dns_port)
        with tempfile.TemporaryDirectory(prefix="acme-bench-") as folder, server.start(Path(folder), ports) as target:
            yield target

    def _load(self, generator: Generator, target: Target, load: Load, title: str) -> Result:
        label = f"{title} {load.mode}"
        self.say(f"{label}: waiting for a quiet machine" if self.patience else label)
        wait_until_quiet(self.patience)
        return generator.run(target, load, partial(self._progress, label))

    def _progress(self, label: str, share: float, done: int) -> None:
        self.say(f"{label}: {share:4.0%}, {done} done")


def wait_until_quiet(patience: float) -> None:
    """Wait, no longer than this many seconds, for one second in which hardly anything runs."""
    give_up = time.monotonic() + patience
    while time.monotonic() < give_up:
        before = measure.Machine.read()
        time.sleep(1)
        after = measure.Machine.read()
        if after.busy - before.busy < _QUIET * (after.total - before.total):
            return


def prepare(servers: Sequence[Server], cache: Path, wanted: Ports) -> tuple[Ports, dict[str, str]]:
    """Get all programs, and a namespace if one needs it: returns the responder's ports, and who is out and why."""
    skipped = {}
    for server in servers:
        try:
            server.install(cache)
        except UnavailableError as error:
            skipped[server.name] = str(error)
    fixed = [server.name for server in servers if server.fixed_ports and server.name not in skipped]
    if not fixed:
        return wanted, skipped
    try:
        namespace.enter()
    except OSError as error:
        why = f"it validates on port 80 only, and no namespace can be made: {error}"
        return wanted, skipped | dict.fromkeys(fixed, why)
    return FIXED_PORTS, skipped
