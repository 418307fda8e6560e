"""The results as text and as JSON: medians over the rounds, and our figures as ratios to the peers'."""

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from .flow import OPERATION
from .load import Result

_NOISE = 0.15  # share of the machine that others used, from which on a run is pointed out


@dataclass(frozen=True, slots=True)
class Summary:
    """The medians of a server's rounds in one mode."""

    server: str
    mode: str
    rounds: int
    stalled: int  # runs in which the server locked up; they count only where there is no other
    per_s: float
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    server_cpu_ms: float | None
    generator_cpu_ms: float
    errors: int
    disturbed: float | None

    @classmethod
    def of(cls, group: Sequence[Result]) -> "Summary":
        """Take the medians of some results of the same server and mode."""
        results = [result for result in group if not result.stalled] or group
        first = results[0]
        timed = [result.latency[OPERATION] for result in results if OPERATION in result.latency]
        cpu = [result.server_cpu_ms for result in results if result.server_cpu_ms is not None]
        disturbed = [result.disturbed for result in results if result.disturbed is not None]
        return cls(
            server=first.server,
            mode=first.mode,
            rounds=len(results),
            stalled=sum(result.stalled for result in group),
            per_s=median(result.per_s for result in results),
            requests_per_s=median(result.requests_per_s for result in results),
            p50_ms=median(latency.p50_ms for latency in timed) if timed else math.nan,
            p99_ms=median(latency.p99_ms for latency in timed) if timed else math.nan,
            server_cpu_ms=median(cpu) if cpu else None,
            generator_cpu_ms=median(result.generator_cpu_ms for result in results),
            errors=sum(sum(result.errors.values()) for result in results),
            disturbed=median(disturbed) if disturbed else None,
        )


@dataclass(frozen=True, slots=True)
class Ratio:
    """The first server's figures over a peer's: a rate above 1 and a CPU time below 1 are in our favour."""

    mode: str
    server: str
    peer: str
    rate: float
    server_cpu: float | None

    @classmethod
    def of(cls, ours: Summary, peer: Summary) -> "Ratio":
        """Compare two servers in one mode."""
        known = ours.server_cpu_ms is not None and peer.server_cpu_ms
        cpu = ours.server_cpu_ms / peer.server_cpu_ms if known and ours.server_cpu_ms and peer.server_cpu_ms else None
        return cls(ours.mode, ours.server, peer.server, ours.per_s / peer.per_s if peer.per_s else math.nan, cpu)


def summarise(results: Iterable[Result]) -> list[Summary]:
    """One summary for each server and mode, in the order in which they were first run, mode by mode."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.mode, result.server), []).append(result)
    modes = list(dict.fromkeys(mode for mode, _ in groups))
    return [Summary.of(group) for mode in modes for (of, _), group in groups.items() if of == mode]


def ratios(summaries: Sequence[Summary]) -> list[Ratio]:
    """Compare the first server with each of the others, in every mode."""
    first = summaries[0].server if summaries else ""
    ours = {summary.mode: summary for summary in summaries if summary.server == first}
    return [Ratio.of(ours[peer.mode], peer) for peer in summaries if peer.server != first and peer.mode in ours]


def as_json(results: Sequence[Result], skipped: Mapping[str, str]) -> str:
    """Everything, for programs. Figures that do not exist are null."""
    summaries = summarise(results)
    value = {
        "summary": [dataclasses.asdict(summary) for summary in summaries],
        "ratios": [dataclasses.asdict(ratio) for ratio in ratios(summaries)],
        "runs": [dataclasses.asdict(result) for result in results],
        "skipped": dict(skipped),
    }
    return json.dumps(_finite(value), indent=1)


def _finite(value: object) -> object:
    """Return the value with null for NaN, which JSON does not have. RFC 8259 §6."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_text(results: Sequence[Result], skipped: Mapping[str, str]) -> str:
    """Tell it in a table for each mode, the ratios, and what went wrong."""
    summaries = summarise(results)
    lines = []
    for mode in dict.fromkeys(summary.mode for summary in summaries):
        lines += [*_table(mode, [summary for summary in summaries if summary.mode == mode]), ""]
    lines += [_ratio_line(ratio) for ratio in ratios(summaries)]
    lines += _stalls(summaries)
    lines += _noise(summaries)
    lines += _errors(results)
    lines += [f"{name}: not measured: {why}" for name, why in skipped.items()]
    return "\n".join(lines).strip()


def _table(mode: str, summaries: Sequence[Summary]) -> list[str]:
    unit = "certificates/s" if mode in {"full", "reuse"} else "operations/s"
    each = "certificate" if mode in {"full", "reuse"} else "operation"
    head = [f"mode {mode}", unit, "requests/s", "p50 ms", "p99 ms", f"CPU ms/{each}", "generator CPU ms", "errors"]
    rows = [head]
    for summary in summaries:
        figures = (summary.per_s, summary.requests_per_s, summary.p50_ms, summary.p99_ms)
        cpu = "-" if summary.server_cpu_ms is None else f"{summary.server_cpu_ms:.2f}"
        rows.append([summary.server, *(f"{figure:.1f}" for figure in figures), cpu])
        rows[-1] += [f"{summary.generator_cpu_ms:.2f}", str(summary.errors)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]


def _ratio_line(ratio: Ratio) -> str:
    cpu = "" if ratio.server_cpu is None else f", {ratio.server_cpu:.2f} x the CPU time of one"
    return f"mode {ratio.mode}: {ratio.server} does {ratio.rate:.2f} x the work of {ratio.peer} in a second{cpu}"


def _stalls(summaries: Sequence[Summary]) -> list[str]:
    return [
        f"mode {summary.mode}, {summary.server}: locked up in {summary.stalled} runs, {summary.rounds} count"
        for summary in summaries
        if summary.stalled
    ]


def _noise(summaries: Sequence[Summary]) -> list[str]:
    return [
        f"mode {summary.mode}, {summary.server}: other programs used {summary.disturbed:.0%} of the machine; "
        "distrust its rate and latency"
        for summary in summaries
        if summary.disturbed is not None and summary.disturbed > _NOISE
    ]


def _errors(results: Sequence[Result]) -> list[str]:
    counts: dict[tuple[str, str], Counter[str]] = {}
    examples: dict[tuple[str, str, str], str] = {}
    for result in results:
        key = (result.mode, result.server)
        counts.setdefault(key, Counter()).update(result.errors)
        examples |= {(*key, kind): text for kind, text in result.error_examples.items()}
    return [
        f"mode {mode}, {server}: {count} x {kind}: {examples.get((mode, server, kind), '')}"
        for (mode, server), errors in counts.items()
        for kind, count in errors.most_common()
    ]
