openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ca-key.pem
openssl req -new -key ca-key.pem -subj "/CN=Istio CA eu" -out ca.csr
acme-ca issuer sign-csr ca.csr --environment mesh --rule istio-eu --out cert-chain.pem --root-out root-cert.pem
openssl x509 -in cert-chain.pem -out ca-cert.pem
openssl verify -CAfile root-cert.pem -untrusted cert-chain.pem ca-cert.pem
