cat >plan-2.toml <<'PLAN'
[root]
name = "root-2"
common_name = "Corp Root 2"
organization = "Corp"
kind = "ec-p384"
lifetime_days = 7300
key = { type = "software", path = "/media/root-2/root-2.key", passphrase = "env:ROOT_2_PASSPHRASE" }

[[intermediate]]
name = "prod-2"
common_name = "ca.corp.example prod-2"
permitted_dns = ["prod.corp.example"]
lifetime_days = 1825
crl_url = "http://ca.corp.example:8080/crl/root-2.crl"

[[intermediate]]
name = "service-2"
common_name = "ca.corp.example service-2"
permitted_dns = ["ca.corp.example"]
lifetime_days = 1825
crl_url = "http://ca.corp.example:8080/crl/root-2.crl"

[crl]
next_update_days = 365
PLAN
acme-ca root plan plan-2.toml
acme-ca root create plan-2.toml
acme-ca root sign-crl plan-2.toml
acme-ca root verify root-2.transcript.jsonl
