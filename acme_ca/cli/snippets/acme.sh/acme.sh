# Account and first certificate. acme.sh's own job, once a day, renews it after the days that --days says.
# acme.sh keeps --ca-bundle for everything that it does on this host, other CAs included.
acme.sh --register-account --ca-bundle $root \
    --eab-kid $eab_kid --eab-hmac-key $eab_key \
    --server $directory
# With --reloadcmd 'systemctl reload SERVICE' each new certificate is put to use.
acme.sh --issue --server $directory --ca-bundle $root --standalone --days $days_until \
    --cert-profile $profile \
    $domain_options
