openssl ecparam -name prime256v1 -genkey -noout -out issuer.key
openssl req -new -key issuer.key -subj "/CN=identity.linkerd.cluster.local" -out issuer.csr
acme-ca issuer sign-csr issuer.csr --environment mesh --rule linkerd-eu --out issuer.crt --root-out anchors.crt
openssl verify -CAfile anchors.crt -untrusted issuer.crt -verify_hostname identity.linkerd.cluster.local issuer.crt
