# lego 5: account and first certificate, and the renewal when it is due. Save it as /usr/local/sbin/lego-acme-ca.
# With --deploy-hook 'systemctl reload SERVICE' each new certificate is put to use.
export LEGO_CA_CERTIFICATES=$root
lego run --server $directory --accept-tos --path /var/lib/lego --http --no-random-sleep \
    --eab --eab.kid $eab_kid --eab.hmac $eab_key \
    --profile $profile \
    $domain_options
