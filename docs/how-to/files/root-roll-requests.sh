install -m 0644 root-2-by-root-1.pem /var/lib/acme-ca/certificates/root-2-by-root-1.pem
acme-ca issuer csr prod/prod-2 --create ec-p256 --out prod-2.csr
acme-ca issuer csr service/service-2 --create ec-p256 --out service-2.csr
