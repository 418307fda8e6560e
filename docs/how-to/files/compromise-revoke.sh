acme-ca cert revoke --environment prod --issuer-id prod-1 --reason superseded --yes
