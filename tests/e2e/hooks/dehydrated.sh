#!/bin/sh
# dehydrated's HOOK: called for every step with the step's name; only dns-01 has something to do.
case "$1" in
    deploy_challenge) exec "$(dirname "$0")/dns.sh" present "$2" "$4" ;;
    clean_challenge) exec "$(dirname "$0")/dns.sh" cleanup "$2" "$4" ;;
esac
