#!/bin/sh
set -eu
exec acme-workload run \
    --server https://ca.corp.example:8443/acme/prod/directory --ca-file /etc/acme/root.pem \
    --token-command 'spire-agent api fetch jwt -socketPath /run/spire/agent.sock \
        -audience "$ACME_WORKLOAD_AUDIENCE" -output json | jq -r ".[0].svids[0].svid"' \
    --spiffe-id spiffe://prod.corp.example/guest/pay/api --profile workload-1h \
    --out /run/identity --spiffe-socket unix:///run/identity/workload.sock
