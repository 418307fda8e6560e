openssl ecparam -name prime256v1 -genkey -noout -out consul-ca.key
openssl req -new -key consul-ca.key -subj "/CN=Consul CA dc1" -out consul-ca.csr
acme-ca issuer sign-csr consul-ca.csr --environment mesh --rule consul-dc1 --out consul-chain.pem
openssl x509 -in consul-chain.pem -out consul-ca.pem
