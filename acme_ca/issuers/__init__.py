"""Issuers: how they are opened, which generations there are of each, and which of them are in force."""

from acme_ca.issuers.in_force import InForce as InForce
from acme_ca.issuers.in_force import IssuersInForce as IssuersInForce
from acme_ca.issuers.opening import Places as Places
from acme_ca.issuers.opening import key_of as key_of
from acme_ca.issuers.opening import load_issuer as load_issuer
