# lego 4, account and first certificate. It wants an address; any will do.
export LEGO_CA_CERTIFICATES=$root
lego --server $directory --accept-tos --email you@example.com --path /var/lib/lego --http \
    --eab --kid $eab_kid --hmac $eab_key \
    $domain_options run$profile_option
