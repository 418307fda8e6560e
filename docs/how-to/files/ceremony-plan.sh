cat >plan.toml <<'PLAN'
[root]
name = "root-1"
common_name = "Corp Root 1"
organization = "Corp"
kind = "ec-p384"
lifetime_days = 7300
key = { type = "software", path = "/media/root-1/root-1.key", passphrase = "env:ROOT_PASSPHRASE" }

[[intermediate]]
name = "prod-1"
common_name = "ca.corp.example prod-1"
permitted_dns = ["prod.corp.example"]
lifetime_days = 1825
crl_url = "http://ca.corp.example:8080/crl/root-1.crl"

[[intermediate]]
name = "service-1"
common_name = "ca.corp.example service-1"
permitted_dns = ["ca.corp.example"]
lifetime_days = 1825
crl_url = "http://ca.corp.example:8080/crl/root-1.crl"

[crl]
next_update_days = 365
PLAN
acme-ca root plan plan.toml
