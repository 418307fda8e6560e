"""A run: the clients' processes, the window that all of them measure, and the result."""

import contextlib
import multiprocessing
import multiprocessing.connection
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from typing import Any, Self

from . import clients, measure, responder
from .clients import Mode, Outcome, Task, Window
from .flow import OPERATION
from .signing import AccountKey

ZONE = "bench.load.test"
_SPAWN = multiprocessing.get_context("spawn")
_GRACE = 40.0  # seconds for what is under way when the window ends
_STALL = 0.3  # share of the window
_TICK = 0.2  # seconds between two looks at the progress


class RunFailedError(Exception):
    """There was nothing to measure; says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """A running server: its directory, the roots of its TLS certificate, the process trees to measure."""

    name: str
    directory: str
    ca: Path
    pids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Load:
    """How much to ask of a server."""

    mode: Mode
    clients: int
    duration: float  # seconds to measure
    warmup: float  # seconds before that
    count: int | None = None  # operations in total; the duration is then the limit, and nothing warms up
    per_process: int = 4
    timeout: float = 15.0  # seconds for one answer


@dataclass(frozen=True, slots=True)
class Result:
    """What a run measured. `disturbed` is the share of the machine that neither server nor generator used."""

    server: str
    mode: Mode
    clients: int
    window_s: float
    longest_gap_s: float  # in which nothing was finished
    operations: int
    per_s: float
    requests: int
    requests_per_s: float
    server_cpu_ms: float | None  # per operation; None when no process of the server is known
    generator_cpu_ms: float
    disturbed: float | None
    latency: dict[str, measure.Latency]
    counters: dict[str, int]
    errors: dict[str, int]
    error_examples: dict[str, str] = field(default_factory=dict)

    @property
    def stalled(self) -> bool:
        """Whether the server did nothing for much of the window: it locked up, and its figures mean nothing."""
        return self.longest_gap_s > max(1.0, _STALL * self.window_s)


Progress = Callable[[float, int], None]  # the share of the run that has passed, and operations so far


@dataclass(frozen=True, slots=True)
class _Usage:
    at: float
    server: float
    generator: float
    machine: measure.Machine


class Generator:
    """The account keys and the responder, which all runs share. A context manager: leaving it ends the responder."""

    def __init__(self, most_clients: int, http_port: int = 0, dns_port: int = 0) -> None:
        self._keys = [AccountKey.generate() for _ in range(most_clients)]
        self._http, self._dns = responder.listen(http_port, dns_port)
        self.http_port: int = self._http.getsockname()[1]
        self.dns_port: int = self._dns.getsockname()[1]
        self._control, other = _SPAWN.Pipe()
        thumbprints = {number: key.thumbprint for number, key in enumerate(self._keys)}
        sockets = (self._http, self._dns)
        self._responder = _SPAWN.Process(target=responder.run, args=(sockets, other, thumbprints), daemon=True)

    def __enter__(self) -> Self:
        self._responder.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._control.close()
        self._responder.terminate()
        self._responder.join()
        self._http.close()
        self._dns.close()

    def run(self, target: Target, load: Load, progress: Progress = lambda _share, _done: None) -> Result:
        """Load a server once. Raises RunFailedError."""
        done = RawArray("Q", load.clients)
        with self._processes(target, load, done) as workers:
            pipes = [pipe for _, pipe in workers]
            _wait_until_ready(pipes, load)
            begin = time.monotonic() + (0 if load.count else load.warmup)
            window = Window(begin, begin + load.duration)
            for pipe in pipes:
                pipe.send(window)
            pids = [process.pid for process, _ in workers if process.pid]
            pids += [self._responder.pid] if self._responder.pid else []
            time.sleep(max(0.0, window.begin - time.monotonic()))
            before = _usage(target, pids)
            early = _watch(pipes, window, lambda share: progress(share, sum(done)))
            after = _usage(target, pids)
            outcome = _collect(pipes)
        seconds = max(outcome.finished) - window.begin if early and outcome.finished else load.duration
        return _result(target, load, outcome, (before, after), Window(window.begin, window.begin + seconds))

    @contextlib.contextmanager
    def _processes(self, target: Target, load: Load, done: Any) -> Iterator[list[tuple[BaseProcess, "Pipe[Any, Any]"]]]:  # noqa: ANN401 - a ctypes array has no public type
        tail = f"{secrets.token_hex(4)}.{ZONE}"
        count = None if load.count is None else max(1, load.count // load.clients)
        workers: list[tuple[BaseProcess, Pipe[Any, Any]]] = []
        try:
            for first in range(0, load.clients, load.per_process):
                numbers = range(first, min(first + load.per_process, load.clients))
                keys = tuple((number, self._keys[number].dump()) for number in numbers)
                task = Task(target.directory, target.ca, load.mode, keys, tail, load.timeout, count)
                ours, theirs = _SPAWN.Pipe()
                process: BaseProcess = _SPAWN.Process(target=clients.run, args=(task, theirs, done), daemon=True)
                process.start()
                theirs.close()
                workers.append((process, ours))
            yield workers
        finally:
            for process, pipe in workers:
                process.terminate()
                process.join()
                pipe.close()


def _wait_until_ready(pipes: list["Pipe[Any, Any]"], load: Load) -> None:
    give_up = time.monotonic() + _GRACE + load.timeout
    for pipe in pipes:
        if not pipe.poll(max(0.0, give_up - time.monotonic())):
            raise RunFailedError("the accounts were not made in time")
        if failure := _receive(pipe):
            raise RunFailedError(str(failure))


def _watch(pipes: list["Pipe[Any, Any]"], window: Window, progress: Callable[[float], None]) -> bool:
    """Wait for the window's end; True if all processes were done before."""
    waiting = list(pipes)
    while waiting and (left := window.end - time.monotonic()) > 0:
        ready = multiprocessing.connection.wait(waiting, min(_TICK, left))
        waiting = [pipe for pipe in waiting if pipe not in ready]
        progress(1 - max(0.0, window.end - time.monotonic()) / (window.end - window.begin))
    return not waiting


def _collect(pipes: list["Pipe[Any, Any]"]) -> Outcome:
    outcome = Outcome()
    give_up = time.monotonic() + _GRACE
    for pipe in pipes:
        if not pipe.poll(max(0.0, give_up - time.monotonic())):
            raise RunFailedError("a process of the generator did not end: the server holds its requests")
        outcome.add(_receive(pipe))
    return outcome


def _receive(pipe: "Pipe[Any, Any]") -> Any:  # noqa: ANN401 - what a pipe carries is known by its end only
    try:
        return pipe.recv()
    except EOFError as error:
        raise RunFailedError("a process of the generator died") from error


def _usage(target: Target, pids: list[int]) -> _Usage:
    return _Usage(time.monotonic(), measure.tree_cpu(target.pids), measure.own_cpu(pids), measure.Machine.read())


def _result(target: Target, load: Load, outcome: Outcome, usage: tuple[_Usage, _Usage], window: Window) -> Result:
    before, after = usage
    seconds = window.end - window.begin
    operations = len(outcome.latencies.get(OPERATION, ()))
    requests = sum(len(taken) for kind, taken in outcome.latencies.items() if kind != OPERATION)
    server, generator = after.server - before.server, after.generator - before.generator
    busy = after.machine.busy - before.machine.busy
    per_operation = 1000 / max(1, operations)
    known = bool(target.pids)
    return Result(
        server=target.name,
        mode=load.mode,
        clients=load.clients,
        window_s=round(seconds, 3),
        longest_gap_s=round(measure.longest_gap(outcome.finished, window.begin, window.end), 3),
        operations=operations,
        per_s=round(operations / seconds, 2),
        requests=requests,
        requests_per_s=round(requests / seconds, 2),
        server_cpu_ms=round(server * per_operation, 3) if known else None,
        generator_cpu_ms=round(generator * per_operation, 3),
        disturbed=round(max(0.0, busy - server - generator) / (after.machine.total - before.machine.total), 3)
        if known
        else None,
        latency={kind: measure.Latency.of(taken) for kind, taken in sorted(outcome.latencies.items())},
        counters=dict(outcome.counters),
        errors=dict(outcome.errors),
        error_examples=outcome.examples,
    )
