vault secrets enable transit
vault write -f transit/keys/acme-ca-prod type=ecdsa-p256 exportable=false allow_plaintext_backup=false
vault policy write acme-ca cloud-keys-transit.hcl
vault token create -orphan -policy acme-ca -period 24h -field token >/run/acme-ca/vault.token
