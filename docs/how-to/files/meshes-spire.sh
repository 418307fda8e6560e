openssl ecparam -name prime256v1 -genkey -noout -out upstream.key
openssl req -new -key upstream.key -subj "/CN=SPIRE upstream eu" -out upstream.csr
acme-ca issuer sign-csr upstream.csr --environment mesh --rule spire-eu --out upstream.crt --root-out bundle.crt
openssl verify -CAfile bundle.crt -untrusted upstream.crt upstream.crt
