#!/bin/sh
set -eu
export ACME_WORKLOAD_SERVER=https://ca.corp.example:8443/acme/prod/directory
export ACME_WORKLOAD_CA_FILE=/etc/acme/root.pem
export REQUESTS_CA_BUNDLE=/etc/acme/root.pem
key=$(acme-workload eab --x5c-cert /etc/bootstrap/host.pem --x5c-key /etc/bootstrap/host.key)
eval "$key"
certbot certonly --non-interactive --agree-tos --register-unsafely-without-email --standalone \
    --server "$ACME_DIRECTORY" --eab-kid "$ACME_EAB_KID" --eab-hmac-key "$ACME_EAB_HMAC_KEY" \
    --domain "$ACME_WORKLOAD_DNS"
