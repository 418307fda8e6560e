acme-ca root sign-intermediate plan-2.toml prod-2.csr --name prod-2
acme-ca root sign-intermediate plan-2.toml service-2.csr --name service-2
acme-ca root verify root-2.transcript.jsonl
