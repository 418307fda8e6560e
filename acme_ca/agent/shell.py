"""Commands of the operator, run by the shell for a bounded time, with all that they start."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field

from acme_ca.agent.errors import AgentError

_STDERR = 2


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended; negative codes are signals."""

    code: int
    output: bytes = field(repr=False)


def run(command: str, variables: Mapping[str, str], seconds: float, what: str, *, capture: bool = False) -> Ended:
    """Run a command with these environment variables beside our own; raises AgentError if it takes too long.

    Its standard output is captured, or goes where standard error goes.
    """
    try:
        process = subprocess.Popen(  # noqa: S603 - the command is the operator's own
            ["/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if capture else _STDERR,
            env=os.environ | dict(variables),
            start_new_session=True,  # so that what the command starts can be ended with it
        )
    except (OSError, ValueError) as error:  # no shell, too many processes; ValueError: a NUL in the command
        raise AgentError(f"{what} could not be started: {error}") from error
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise AgentError(f"{what} did not end within {seconds:g} seconds, and was ended") from error
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return Ended(process.returncode, output or b"")
