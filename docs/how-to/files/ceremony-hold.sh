read -rsp "Passphrase of the root's key: " ROOT_PASSPHRASE
export ROOT_PASSPHRASE
acme-ca root create plan.toml
acme-ca root sign-intermediate plan.toml service-1.csr --name service-1
acme-ca root sign-intermediate plan.toml prod-1.csr --name prod-1
acme-ca root sign-crl plan.toml
unset ROOT_PASSPHRASE
acme-ca root verify root-1.transcript.jsonl
