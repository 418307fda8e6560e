read -rsp "Passphrase of the root's key: " ROOT_PASSPHRASE
export ROOT_PASSPHRASE
cat >plan.toml <<'PLAN'
[root]
name = "root-1"
common_name = "ca.corp.example root"
organization = "acme-ca"
kind = "ec-p384"
lifetime_days = 7300
key = { type = "software", path = "/media/root-1/root.key", passphrase = "env:ROOT_PASSPHRASE" }

[crl]
next_update_days = 365
PLAN
acme-ca root plan plan.toml
acme-ca root adopt plan.toml
acme-ca root sign-crl plan.toml
unset ROOT_PASSPHRASE
