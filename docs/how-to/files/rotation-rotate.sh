export ACME_CA_CONFIG=/var/lib/acme-ca/acme-ca.toml
acme-ca issuer rotate prod
acme-ca issuer list prod
