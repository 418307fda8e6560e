export ACME_CA_CONFIG=/var/lib/acme-ca/acme-ca.toml
acme-ca root verify root-1.transcript.jsonl --head "$HEAD"
acme-ca issuer import prod-2.pem
acme-ca issuer list prod
