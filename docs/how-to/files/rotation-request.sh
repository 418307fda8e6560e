export ACME_CA_CONFIG=/var/lib/acme-ca/acme-ca.toml
acme-ca issuer rotate prod --out prod-2.csr
sha256sum prod-2.csr
