acme-ca key generate prod-2 --config ca/acme-ca.toml --kind ec-p384
acme-ca init --dir ca
acme-ca key check prod-1 prod-2 --config ca/acme-ca.toml
