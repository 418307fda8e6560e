cat >>plan.toml <<PLAN

[[cross_sign]]
name = "root-2-by-root-1"
sha256 = "$(openssl x509 -in root-2.pem -noout -fingerprint -sha256 | cut -d = -f 2)"
lifetime_days = 730
crl_url = "http://ca.corp.example:8080/crl/root-1.crl"
PLAN
acme-ca root plan plan.toml
acme-ca root cross-sign plan.toml root-2.pem
acme-ca root verify root-1.transcript.jsonl
