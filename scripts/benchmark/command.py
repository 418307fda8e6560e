"""The command line of scripts/bench."""

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from . import report
from .clients import MODES, Mode
from .daemon import Ports
from .load import Generator, Load, Target
from .own import AcmeCa
from .rounds import Attached, Bench, prepare
from .servers import PEERS, Server
from .wire import NotLoopbackError, Origin

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    modes: tuple[Mode, ...]
    clients: int
    duration: float
    warmup: float
    count: int | None
    rounds: int
    peers: tuple[str, ...]
    without_us: bool
    acme_ca: Path | None
    directory: str | None
    ca: Path | None
    pids: tuple[int, ...]
    http_port: int
    dns_port: int
    per_process: int
    patience: float
    cache: Path
    as_json: bool

    def servers(self) -> list[Server]:
        """Whom to measure; ours is first. Raises click.UsageError."""
        peers: list[Server] = [PEERS[name]() for name in self.peers]
        if not self.directory:
            return peers if self.without_us else [AcmeCa(self.acme_ca), *peers]
        if not self.ca:
            raise click.UsageError("--directory needs --ca, the roots of the server's TLS certificate")
        if peers:
            raise click.UsageError("--peers are measured beside a server of our own, not beside --directory")
        try:
            Origin.of(self.directory)
        except NotLoopbackError as error:
            raise click.UsageError(str(error)) from error
        return [Attached(Target(Attached.name, self.directory, self.ca, self.pids))]

    def loads(self) -> list[Load]:
        """Say what to do to each of them."""
        return [
            Load(mode, self.clients, self.duration, self.warmup, self.count, self.per_process) for mode in self.modes
        ]


def _peer_names(_context: click.Context, _option: click.Parameter, value: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
    if unknown := [name for name in names if name not in PEERS]:
        raise click.BadParameter(f"{', '.join(unknown)}: expected some of {', '.join(PEERS)}")
    return names


@click.command(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.option("--mode", "modes", type=click.Choice(MODES), multiple=True, default=("full",), help="Repeat for several.")
@click.option("--clients", type=click.IntRange(1, 1000), default=8, help="Each has an account and a connection.")
@click.option("--duration", type=click.FloatRange(0.5, 300), default=8.0, help="Seconds to measure.")
@click.option("--warmup", type=click.FloatRange(0, 60), default=1.0, help="Seconds of load before that.")
@click.option("--count", type=click.IntRange(1, 1_000_000), help="Stop after so many operations; no warm-up.")
@click.option("--rounds", type=click.IntRange(1, 50), default=1, help="Interleaved, each with fresh servers.")
@click.option(
    "--peers", callback=_peer_names, default="", help=f"To measure beside us, comma separated: {','.join(PEERS)}."
)
@click.option("--without-us", is_flag=True, help="Measure the peers only.")
@click.option(
    "--acme-ca", type=click.Path(path_type=Path, exists=True), help="Measure another acme-ca command than ours."
)
@click.option("--directory", help="Measure a server that runs already: its directory's URL.")
@click.option("--ca", type=click.Path(path_type=Path, exists=True), help="With --directory: its TLS roots (PEM).")
@click.option("--pid", "pids", type=int, multiple=True, help="With --directory: its processes, for their CPU time.")
@click.option("--http-port", type=click.IntRange(0, 65535), default=0, help="For our http-01 answers; 0: a free one.")
@click.option("--dns-port", type=click.IntRange(0, 65535), default=0, help="For our DNS answers; 0: a free one.")
@click.option("--per-process", type=click.IntRange(1, 100), default=4, help="Clients in a process of the generator.")
@click.option("--patience", type=click.FloatRange(0, 600), default=0.0, help="Wait so long for a quiet machine.")
@click.option("--cache", type=click.Path(path_type=Path), default=ROOT / ".cache/bench", help="For peers' programs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(**values: Any) -> None:  # noqa: ANN401 - click passes every option by its name; Options has their types
    """Load ACME servers on this machine; tell what they do in a second, and what it costs them.

    Without --directory it starts acme-ca on a throwaway state, and --peers beside it. Exits with 1 after errors.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that servers are ended in order
    options = Options(**values)
    servers = options.servers()
    ports, skipped = prepare(servers, options.cache, Ports(options.http_port, options.dns_port))
    with Generator(options.clients, ports.http, ports.dns) as generator:
        bench = Bench(servers, options.loads(), options.rounds, options.patience, _teller())
        results = bench.run(generator, skipped)
    click.echo(report.as_json(results, skipped) if options.as_json else report.as_text(results, skipped))
    sys.exit(1 if skipped or any(result.errors for result in results) else 0)


def _teller() -> Callable[[str], None]:
    """Return what shows the progress: one line that is written over, on a terminal only."""
    if not sys.stderr.isatty():
        return lambda _text: None
    return lambda text: click.echo(f"\r\x1b[K{text}", nl=False, err=True)
