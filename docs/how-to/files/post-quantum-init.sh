acme-ca init --dir ca --external-url https://ca.corp.example:8443 --domain corp.example --environment prod \
  --root-key ml-dsa-65 --issuer-key ml-dsa-65
acme-ca config check --config ca/acme-ca.toml
acme-ca key check --config ca/acme-ca.toml
