#!/bin/sh
set -eu
export ACME_WORKLOAD_SERVER=https://ca.corp.example:8443/acme/prod/directory
export ACME_WORKLOAD_CA_FILE=/etc/acme/root.pem
export REQUESTS_CA_BUNDLE=/etc/acme/root.pem
# Certbot's account key. With several accounts on this server, name the folder of the right one.
account=$(ls /etc/letsencrypt/accounts/ca.corp.example:8443/acme/prod/directory/*/private_key.json)
thumbprint=$(python3 -c '
import json, sys
from joserfc.jwk import RSAKey
print(RSAKey.import_key(json.load(open(sys.argv[1]))).thumbprint())' "$account")
acme-workload eab --x5c-cert /etc/bootstrap/host.pem --x5c-key /etc/bootstrap/host.key \
    --no-key --account-jkt "$thumbprint" >/dev/null
certbot renew --quiet --no-random-sleep-on-renew
