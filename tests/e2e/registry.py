"""All clients, in the order of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.drivers.acme_tiny import AcmeTiny
from tests.e2e.drivers.caddy import Caddy
from tests.e2e.drivers.certbot import Certbot, DebianCertbot
from tests.e2e.drivers.dehydrated import Dehydrated
from tests.e2e.drivers.lego import Lego
from tests.e2e.drivers.library import Library
from tests.e2e.drivers.mod_md import ModMd
from tests.e2e.drivers.tasks import Lego5, NodeClient, XCrypto
from tests.e2e.drivers.uacme import Uacme

if TYPE_CHECKING:
    from tests.e2e.scenario import Client

CLIENTS: tuple[type[Client], ...] = (
    Certbot,
    DebianCertbot,
    Lego,
    Caddy,
    ModMd,
    Dehydrated,
    Uacme,
    AcmeTiny,
    Library,
    NodeClient,
    XCrypto,
    Lego5,
)
