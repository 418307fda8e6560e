# Account and first certificate. Port 80 has to be free: beside a web server, --webroot or its plugin for --standalone.
# With --deploy-hook 'systemctl reload SERVICE' each new certificate is put to use.
REQUESTS_CA_BUNDLE=$root certbot certonly --standalone --non-interactive --agree-tos --register-unsafely-without-email \
    --server $directory \
    --eab-kid $eab_kid --eab-hmac-key $eab_key \
    --required-profile $profile \
    --cert-name $cert_name $domain_options
