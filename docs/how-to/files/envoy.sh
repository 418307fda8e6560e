#!/bin/sh
set -eu
exec acme-workload run \
    --server https://ca.corp.example:8443/acme/prod/directory --ca-file /etc/acme/root.pem \
    --token-file /var/run/secrets/acme/token \
    --spiffe-id spiffe://prod.corp.example/ns/pay/sa/api --dns api.pay.prod.corp.example --profile workload-1h \
    --out /run/identity --envoy /run/identity/envoy
