"""acme-ca: an ACME (RFC 8555) certificate authority for machines that live for minutes."""
