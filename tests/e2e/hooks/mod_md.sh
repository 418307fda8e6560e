#!/bin/sh
# mod_md's MDChallengeDns01: `DOOR setup DOMAIN VALUE` and `DOOR teardown DOMAIN [VALUE]`; without a value all go.
DNS_DOOR=$1
export DNS_DOOR
act=cleanup
[ "$2" != setup ] || act=present
exec "$(dirname "$0")/dns.sh" "$act" "$3" "${4:-}"
