"""`acme-ca explain`: what became of an order, a certificate or a name, and why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click

from acme_ca.cli.client import Api, api_options
from acme_ca.cli.options import SETTINGS, WORDS, json_option, print_json, printable, refuse

Event = Mapping[str, Any]

PAGE = 500  # events that are looked at
SERIAL = re.compile(r"[0-9a-f]{32,34}|[0-9a-f]{2}(:[0-9a-f]{2})+")
SERIAL_DIGITS = 34  # as the ledger writes serials
ID = re.compile(r"[0-9a-f]{26}")
HIDDEN = frozenset({"tbs_sha256", "issuer_key", "binding", "order"})  # of the details; --json has them
NEXT = {
    "order.created": "The client has to answer its challenges, if any are pending, and to finalize the order.",
    "authorization.valid": "The client can finalize its order.",
    "authorization.invalid": "Mend what the error says, and let the client order anew.",
    "certificate.issued": "Nothing: the certificate is issued.",
    "certificate.abandoned": "Nothing: the order is issued under another serial, or the client finalizes again.",
    "sub_ca.signed": "Its mesh can use it; have the next one signed before it ends.",
    "certificate.revoked": "The client has to order anew, with a new key if the old one was compromised.",
}
REFUSED = "Change what the reason names; `acme-ca policy explain {names} --environment {environment}` tells each rule."


@click.command(**SETTINGS)
@api_options
@click.argument("what", type=WORDS)
@click.option("--environment", help="Only events of this environment.")
@click.option("--limit", type=click.IntRange(1, PAGE), default=50, show_default=True, help="Events, at most.")
@json_option
def explain(api: Api, what: str, environment: str | None, limit: int, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """Tell the story of WHAT: an order's or account's id, a certificate's serial, or a name.

    Each challenge with its resolver, addresses and status, each refusal with its rule, in the order of time, and what
    to do next. It is read from the audit trail, for which the role auditor is needed.
    """
    found = sorted(_story(api, what, environment), key=lambda event: (event["time"], event["id"]))[-limit:]
    if not found:
        expected = "an order's or account's id, a certificate's serial in hexadecimal, or a name"
        refuse(f"the audit trail knows nothing of {what!r}; expected {expected}")
    following = _next_step(found[-1])
    if as_json:
        print_json({"events": found, "next": following})
        return
    for event in found:
        click.echo("\n".join(printable(line) for line in _lines(event)))
    click.echo(f"next: {following}")


def _story(api: Api, what: str, environment: str | None) -> list[Event]:
    """Return the events about it, and those of the order that they belong to."""
    plain = what.lower()
    if ID.fullmatch(plain):
        found = _events(api, environment, about=plain)
    elif _is_serial(plain):
        found = _events(api, environment, serial=plain.replace(":", "").zfill(SERIAL_DIGITS))
    else:
        found = _events(api, environment, name=plain)
    known = {event["id"]: event for event in found}
    for event in _of_orders(api, environment, found):
        known.setdefault(event["id"], event)
    return list(known.values())


def _is_serial(text: str) -> bool:
    """Whether it is a serial: an IPv6 address may look like one."""
    if not SERIAL.fullmatch(text):
        return False
    from acme_ca.config.fields import is_address

    return not is_address(text)


def _of_orders(api: Api, environment: str | None, found: Iterable[Event]) -> Iterator[Event]:
    """Yield what else happened to the orders that the events are about: challenges, the certificate, its end."""
    for event in found:
        if event["event"] not in {"order.created", "certificate.issued"}:
            continue
        order = event["details"].get("order", event["subject"])
        for name in event["details"]["names"]:
            for other in _events(api, environment, name=name.partition(":")[2], account=event["account"]):
                is_proof = other["event"].startswith("authorization.")
                if is_proof or order in {other["subject"], other["details"].get("order")}:
                    yield other


def _events(api: Api, environment: str | None, **conditions: str) -> list[Event]:
    page = api.get("/audit", environment=environment, limit=PAGE, **conditions)
    items: list[Event] = page["items"]
    return items


def _lines(event: Event) -> Iterator[str]:
    who = "" if event["actor"] in {"", event["subject"]} else f" by {event['actor']}"
    yield f"{event['time'][:19]}Z {event['environment']} {event['event']} {event['subject']}{who}"
    for name, value in event["details"].items():
        if name not in HIDDEN and value not in (None, [], {}):
            yield from _detail(name, value)


def _detail(name: str, value: object, indent: str = "    ") -> Iterator[str]:
    """Yield a detail, what is inside of it below it."""
    if isinstance(value, Mapping):
        yield f"{indent}{name}"
        for inner, part in value.items():
            yield from _detail(str(inner), part, indent + "  ")
    elif isinstance(value, list) and any(isinstance(part, Mapping) for part in value):
        for number, part in enumerate(value, 1):
            yield from _detail(f"{name} {number}", part, indent)
    else:
        yield f"{indent}{name}: {', '.join(map(str, value)) if isinstance(value, list) else value}"


def _next_step(event: Event) -> str:
    kind = event["event"]
    if kind.endswith(".refused"):
        names = [name.partition(":")[2] for name in event["details"].get("names", ())]
        return REFUSED.format(names=" ".join(names) or "NAME", environment=event["environment"])
    return NEXT.get(kind, "Nothing is waited for.")
