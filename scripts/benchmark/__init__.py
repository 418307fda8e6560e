"""The parts of scripts/bench: an ACME (RFC 8555) load generator for servers on loopback addresses."""
