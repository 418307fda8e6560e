"""The plan that `acme-ca root plan` prints: complete, commented, to be made one's own and reviewed."""

TEMPLATE = """\
# The plan of a key ceremony for acme-ca. Nothing is signed but what it says; all that is made is put beside this file.
# Review it together, and write down its digest: `sha256sum` of this file. docs/how-to/ceremony.md has the steps.

[root]
# Its files: root-1.pem, root-1.NUMBER.crl, root-1.transcript.jsonl.
name = "root-1"
common_name = "Corp Root 1"
organization = "Corp"
kind = "ec-p384"  # ec-p256, ec-p384, ec-p521, rsa-2048, rsa-3072, rsa-4096
# Days from the signing on. Or two moments: not_before = 2026-01-01T00:00:00Z and not_after = 2046-01-01T00:00:00Z
lifetime_days = 7300
# A file on a medium, encrypted under a passphrase of 16 characters at least: "env:NAME", or "file:PATH" elsewhere.
key = { type = "software", path = "/media/root-1/root-1.key", passphrase = "env:ROOT_PASSPHRASE" }

# One table for each intermediate. A name is signed once: a new certificate takes a new table with a new name.
[[intermediate]]
name = "prod-1"  # its file: prod-1.pem
common_name = "ca.corp.example prod-1"
permitted_dns = ["prod.corp.example"]
permitted_ips = []  # such as ["10.0.0.0/8"]
path_length = 0
lifetime_days = 1825
# Where relying parties find the root's certificate (DER) and revocation list: the CA's status listener, plain http.
issuer_url = "http://ca.corp.example:8080/ca/prod/root.der"
crl_url = "http://ca.corp.example:8080/crl/root-1.crl"

# The CA's own HTTPS listener.
[[intermediate]]
name = "service-1"
common_name = "ca.corp.example service-1"
permitted_dns = ["ca.corp.example"]
lifetime_days = 1825
crl_url = "http://ca.corp.example:8080/crl/root-1.crl"

# Another root that this one vouches for, during a root roll (docs/how-to/root-roll.md): its certificate's SHA-256.
# [[cross_sign]]
# name = "root-2-by-root-1"  # its file: root-2-by-root-1.pem
# sha256 = "0123…"
# lifetime_days = 730
# crl_url = "http://ca.corp.example:8080/crl/root-1.crl"

# The root's revocation list. `number`: "time" (seconds since 1970), "sequence" (one more than the last), or a number.
[crl]
number = "time"
next_update_days = 365  # or next_update = 2027-01-01T00:00:00Z
# Everything that is revoked, earlier lists' entries too. Reasons: unspecified, keyCompromise, cACompromise,
# affiliationChanged, superseded, cessationOfOperation, privilegeWithdrawn.
# [[crl.revoked]]
# serial = "01:a2:b3"
# reason = "superseded"
# date = 2026-06-01T12:00:00Z
"""
