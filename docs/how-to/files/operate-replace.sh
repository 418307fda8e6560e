acme-ca cert replace --environment prod --below prod.corp.example --minutes 30 --yes
acme-ca cert replacements --environment prod
