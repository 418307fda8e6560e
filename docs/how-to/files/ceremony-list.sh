read -rsp "Passphrase of the root's key: " ROOT_PASSPHRASE
export ROOT_PASSPHRASE
acme-ca root sign-crl plan.toml
unset ROOT_PASSPHRASE
