acme-ca issuer distrust prod/prod-1 --reason "its key was on a stolen disk" --minutes 15 --dry-run
acme-ca issuer distrust prod/prod-1 --reason "its key was on a stolen disk" --minutes 15 --yes
acme-ca issuer distrusted prod/prod-1
