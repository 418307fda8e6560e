cat >>plan.toml <<'PLAN'

[[intermediate]]
name = "prod-2"
common_name = "ca.corp.example prod-2"
permitted_dns = ["prod.corp.example"]
lifetime_days = 2190
crl_url = "http://ca.corp.example:8080/crl/root-1.crl"
PLAN
read -rsp "Passphrase of the root's key: " ROOT_PASSPHRASE
export ROOT_PASSPHRASE
acme-ca root sign-intermediate plan.toml prod-2.csr --name prod-2
unset ROOT_PASSPHRASE
acme-ca root verify root-1.transcript.jsonl
