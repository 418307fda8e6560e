#!/bin/sh
# certbot's --manual-auth-hook and --manual-cleanup-hook: the domain and the value come as variables.
exec "$(dirname "$0")/dns.sh" "$1" "$CERTBOT_DOMAIN" "$CERTBOT_VALIDATION"
