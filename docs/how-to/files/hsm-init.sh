acme-ca init --dir ca --external-url https://ca.corp.example:8443 --domain corp.example --environment prod \
  --pkcs11-module /usr/lib/softhsm/libsofthsm2.so --pkcs11-token acme-ca --pkcs11-pin file:pin
acme-ca key list --config ca/acme-ca.toml
acme-ca key check --config ca/acme-ca.toml
