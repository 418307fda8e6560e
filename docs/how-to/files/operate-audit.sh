acme-ca audit checkpoint >checkpoint.json
acme-ca audit export --format ecs >audit.ecs.jsonl
acme-ca audit search --name app.prod.corp.example
acme-ca audit verify --checkpoint checkpoint.json
