acme-ca cert inventory --config ca/acme-ca.toml --environment prod
acme-ca cert inventory --config ca/acme-ca.toml --environment prod --profile quantum-1h --json
