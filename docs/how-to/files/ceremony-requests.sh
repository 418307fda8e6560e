acme-ca init --dir /var/lib/acme-ca --external-url https://ca.corp.example:8443 --domain corp.example --environment prod --offline-root
export ACME_CA_CONFIG=/var/lib/acme-ca/acme-ca.toml
acme-ca issuer csr service/service-1 --create ec-p256 --out service-1.csr
acme-ca issuer csr prod/prod-1 --create ec-p256 --out prod-1.csr
sha256sum service-1.csr prod-1.csr
