cat >>plan.toml <<PLAN

[[crl.revoked]]
serial = "$SERIAL"
reason = "cACompromise"
date = $(date -u +%Y-%m-%dT%H:%M:%SZ)
PLAN
acme-ca root plan plan.toml
acme-ca root sign-crl plan.toml --yes --plan-digest "$(sha256sum plan.toml | cut -d ' ' -f 1)"
acme-ca root verify root-1.transcript.jsonl
