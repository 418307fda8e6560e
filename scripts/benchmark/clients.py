"""A process of the generator: its clients, each in a thread of its own, and what they measured together."""

import signal
import threading
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, MutableSequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, Literal, get_args

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from .flow import OPERATION, Client, Issued, Recorder, RefusedError
from .responder import name_of
from .signing import AccountKey, CsrTemplate
from .wire import BadAnswerError, NotLoopbackError, client_context

Mode = Literal["nonce", "new-order", "full", "reuse"]
MODES: tuple[Mode, ...] = get_args(Mode)
_CHECK_EVERY = 100  # certificates of a client; to check each would take the cores from the server
_FAILURES = (OSError, BadAnswerError, RefusedError, NotLoopbackError, KeyError, ValueError)
_LONGEST_BACKOFF = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class Task:
    """The work of one process."""

    directory: str
    ca: Path
    mode: Mode
    keys: tuple[tuple[int, bytes], ...]  # clients' numbers and account keys (PKCS#8 DER)
    tail: str  # what the run's names end with
    timeout: float  # seconds for one answer
    count: int | None  # operations of each client; None: as many as the window holds


@dataclass(frozen=True, slots=True)
class Window:
    """When to measure, in seconds of time.monotonic, which is one clock for all processes."""

    begin: float
    end: float


@dataclass(slots=True)
class Outcome:
    """What the clients of a process, or of all of them, measured in the window."""

    latencies: dict[str, "array[float]"] = field(default_factory=dict)
    counters: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    finished: "array[float]" = field(default_factory=lambda: array("d"))

    def add(self, other: "Outcome | Recorder") -> None:
        """Take in what others measured."""
        for kind, seconds in other.latencies.items():
            self.latencies.setdefault(kind, array("d")).extend(seconds)
        self.counters.update(other.counters)
        self.errors.update(other.errors)
        self.examples = {**other.examples, **self.examples}
        self.finished.extend(other.finished)


class _Worker:
    """One client at work: its operations one after the other."""

    def __init__(self, task: Task, number: int, key: bytes) -> None:
        self.recorder = Recorder()
        self._task = task
        self._number = number
        self._orders = 0
        self._issued: list[Issued] = []
        self._until_kept = 0
        self._client = Client(
            task.directory, client_context(task.ca), AccountKey.load(key), self.recorder, task.timeout
        )
        self._template = CsrTemplate(len(self._name()))
        if task.mode != "nonce":
            self._client.register()
        if task.mode == "reuse":
            self._client.issue(self._name(), self._template)

    def work(self, window: Window, done: Callable[[], None]) -> None:
        """Operate until the window ends or the count is reached, with a growing pause after errors."""
        self.recorder.begin, self.recorder.end = window.begin, window.end
        backoff, operations = 0.0, 0
        while (started := time.monotonic()) < window.end and operations != self._task.count:
            operations += 1
            try:
                self._operate()
            except _FAILURES as error:
                kind = error.kind if isinstance(error, RefusedError) else type(error).__name__
                self.recorder.fail(kind, str(error))
                backoff = min(2 * backoff + 0.005, _LONGEST_BACKOFF)
                time.sleep(backoff)
            else:
                backoff = 0.0
                self.recorder.time(OPERATION, started)
                done()

    def check(self) -> None:
        """Verify the certificates that were kept."""
        for issued in self._issued:
            self.recorder.counters["certificates_checked"] += 1
            if wrong := mismatch(issued, self._template.public_key):
                self.recorder.errors["wrong certificate"] += 1
                self.recorder.examples.setdefault("wrong certificate", wrong)

    def _name(self) -> str:
        return name_of(self._number, self._orders, self._task.tail)

    def _operate(self) -> None:
        mode = self._task.mode
        if mode == "nonce":
            self._client.head_nonce()
            return
        if mode != "reuse":
            self._orders += 1
        if mode == "new-order":
            self._client.new_order(self._name())
            return
        issued = self._client.issue(self._name(), self._template)
        self._until_kept -= 1
        if self._until_kept < 0:
            self._issued.append(issued)
            self._until_kept = _CHECK_EVERY - 1


def mismatch(issued: Issued, public_key: ec.EllipticCurvePublicKey) -> str | None:
    """Say what is wrong with a downloaded chain: its leaf's names, its key or its issuer's signature."""
    leaf, *issuers = x509.load_pem_x509_certificates(issued.chain)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    if names != [issued.name]:
        return f"names {names}, ordered {issued.name}"
    if leaf.public_key() != public_key:
        return "another public key than the request's"
    if not issuers:
        return "no issuer in the chain"
    leaf.verify_directly_issued_by(issuers[0])
    return None


def run(task: Task, pipe: "Pipe[Any, Any]", done: MutableSequence[int]) -> None:
    """Live a process's whole life: make the accounts, say so, get the window, work, hand over the outcome.

    `done` is shared memory: how many operations each client has finished, for the progress line.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its children
    try:
        workers = {number: _Worker(task, number, key) for number, key in task.keys}
    except _FAILURES as error:
        pipe.send(f"{type(error).__name__}: {error}")
        return
    pipe.send(None)
    window: Window = pipe.recv()
    _work(workers, window, done)
    pipe.send(_outcome(workers.values()))


def _work(workers: dict[int, _Worker], window: Window, done: MutableSequence[int]) -> None:
    def count(number: int) -> None:
        done[number] += 1

    threads = [
        threading.Thread(target=worker.work, args=(window, lambda number=number: count(number)), daemon=True)
        for number, worker in workers.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _outcome(workers: Iterable[_Worker]) -> Outcome:
    outcome = Outcome()
    for worker in workers:
        worker.check()
        outcome.add(worker.recorder)
    return outcome
