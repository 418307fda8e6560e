acme-ca issuer import prod-2.pem
acme-ca issuer import service-2.pem
acme-ca config check
