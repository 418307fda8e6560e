#!/bin/sh
set -eu
exec acme-workload run \
    --server https://ca.corp.example:8443/acme/prod/directory --ca-file /etc/acme/root.pem \
    --x5c-cert /run/spire/svid.pem --x5c-key /run/spire/svid_key.pem \
    --spiffe-id spiffe://prod.corp.example/guest/pay/api --profile workload-1h \
    --out /run/identity
