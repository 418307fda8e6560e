# On a node, with the CA's root in $root: the first command makes the system trust it.
update-ca-certificates
pvesh create /cluster/acme/account --name acme-ca --contact you@example.com \
    --eab-kid $eab_kid --eab-hmac-key $eab_key \
    --tos_url $terms_of_service \
    --directory $directory
# On each node, with its own names.
pvenode config set --acme 'account=acme-ca,domains=$names_semicolons'
pvenode acme cert order
