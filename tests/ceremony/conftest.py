"""A machine for ceremonies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.offline import Offline


@pytest.fixture
def offline(tmp_path: Path) -> Offline:
    """A machine with a plan and nothing else."""
    return Offline.prepare(tmp_path / "offline")
