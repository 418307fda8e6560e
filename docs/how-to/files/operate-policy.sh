cat >policy.toml <<'POLICY'
[[rules]]
name = "no-databases"
deny = true
dns = [".db.prod.corp.example"]

[[rules]]
name = "own-zones"
dns = [".prod.corp.example"]
wildcards = true
POLICY
acme-ca policy apply policy.toml --environment prod --dry-run --hours 24
acme-ca policy apply policy.toml --environment prod --comment "no certificates for databases"
acme-ca policy history --environment prod
