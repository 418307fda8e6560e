"""Pure X.509 (RFC 5280): requests in, certificates out. Nothing here reads files, databases or the clock."""
