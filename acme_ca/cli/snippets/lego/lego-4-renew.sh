# lego 4, renewal: it counts whole days. What lives for less than a day is renewed on every run: let a timer run this
# once in a third of the lifetime ($lifetime).
export LEGO_CA_CERTIFICATES=$root
lego --server $directory --accept-tos --email you@example.com --path /var/lib/lego --http \
    --eab --kid $eab_kid --hmac $eab_key \
    $domain_options renew --no-random-sleep --days $days_left$profile_option
