export ACME_CA_CONFIG=/var/lib/acme-ca/acme-ca.toml
install -m 0644 corp-root.pem /var/lib/acme-ca/certificates/root.pem
acme-ca issuer import service-1.crt --dry-run
acme-ca issuer import service-1.crt
acme-ca issuer import prod-1.crt
