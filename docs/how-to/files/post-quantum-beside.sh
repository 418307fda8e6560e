acme-ca init --dir ca --root-key ml-dsa-65 --issuer-key ml-dsa-65
acme-ca config check --config ca/acme-ca.toml
