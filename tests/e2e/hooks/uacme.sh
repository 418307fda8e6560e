#!/bin/sh
# uacme's --hook: METHOD TYPE IDENTIFIER TOKEN AUTHORIZATION. A type that is not wanted is declined by a failure.
[ "$2" = "$CHALLENGE" ] || exit 1
act=cleanup
[ "$1" != begin ] || act=present
case "$act $2" in
    "present http-01") printf %s "$5" >"$CHALLENGES/$4" ;;
    "cleanup http-01") rm "$CHALLENGES/$4" ;;
    *dns-01) "$(dirname "$0")/dns.sh" "$act" "$3" "$5" ;;
    "present tls-alpn-01") [ "$(echo "auth $3 $5" | ualpn --sock "$UALPN")" = OK ] ;;
    "cleanup tls-alpn-01") [ "$(echo "unauth $3" | ualpn --sock "$UALPN")" = OK ] ;;
esac
