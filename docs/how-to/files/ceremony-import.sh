export ACME_CA_CONFIG=/var/lib/acme-ca/acme-ca.toml
acme-ca root verify root-1.transcript.jsonl --head "$HEAD"
install -m 0644 root-1.pem /var/lib/acme-ca/certificates/root.pem
install -m 0644 "$(ls -v root-1.*.crl | tail -n 1)" /var/lib/acme-ca/certificates/root-1.crl
acme-ca issuer import service-1.pem
acme-ca issuer import prod-1.pem
acme-ca config check
