"""Tables show what is there, whatever it is."""

from __future__ import annotations

import pytest

from acme_ca.cli.tables import print_table


@pytest.mark.parametrize("value", ["ip:2001:db8:ab::1", "[/x]", "[red]x[/red]", "a:smile:b", "dns:*.example"])
def test_a_value_is_shown_as_it_is(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("Name",), [(value,), (None,)], "nothing")
    assert value in capsys.readouterr().out
