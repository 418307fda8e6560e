acme-ca workload admit --config /var/lib/acme-ca/acme-ca.toml --environment prod --provider hosts \
    --subject "x5c:CN=db-7,O=Corp Hosts" --claims vm-admit.json --minutes 10
