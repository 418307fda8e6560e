acme-ca issuer distrusted prod/prod-1 --wait
acme-ca cert search --environment prod --issuer-id prod-1 --standing valid
