#!/bin/sh
# Change a TXT record of the test's zone. usage: DNS_DOOR=URL dns.sh present|cleanup NAME VALUE
set -eu
curl --silent --show-error --fail --data "{\"fqdn\": \"_acme-challenge.$2\", \"value\": \"$3\"}" "$DNS_DOOR/$1"
