read -rsp "PIN of the token: " ROOT_PIN
export ROOT_PIN
sed -i 's|^key = .*|key = { type = "pkcs11", module = "/usr/lib/softhsm/libsofthsm2.so", uri = "pkcs11:token=root-1;object=root-1", pin = "env:ROOT_PIN" }|' plan.toml
acme-ca root plan plan.toml
acme-ca root create plan.toml
acme-ca root sign-intermediate plan.toml service-1.csr --name service-1
acme-ca root sign-intermediate plan.toml prod-1.csr --name prod-1
acme-ca root sign-crl plan.toml
unset ROOT_PIN
acme-ca root verify root-1.transcript.jsonl
