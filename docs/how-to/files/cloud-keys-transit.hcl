path "transit/keys/acme-ca-prod" {
  capabilities = ["read"]
}

path "transit/sign/acme-ca-prod" {
  capabilities = ["update"]
}
