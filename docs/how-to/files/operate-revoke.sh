acme-ca cert search --environment prod --name app.prod.corp.example
acme-ca cert revoke --environment prod --name app.prod.corp.example --reason superseded --dry-run
acme-ca cert revoke --environment prod --name app.prod.corp.example --reason superseded --yes
