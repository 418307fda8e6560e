install -m 0644 root-2.pem /var/lib/acme-ca/certificates/root-2.pem
install -m 0644 "$(ls -v root-2.*.crl | tail -n 1)" /var/lib/acme-ca/certificates/root-2.crl
sed -i 's|^\[environment.prod\]$|&\nanchors = ["certificates/root-2.pem"]\nanchor_crls = ["certificates/root-2.crl"]|' "$ACME_CA_CONFIG"
acme-ca config check
