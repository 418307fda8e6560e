acme-ca eab create --environment prod --label shop --name .shop.prod.corp.example --profile server-1h --uses 3 --hours 24 --json >key.json
acme-ca eab list --environment prod --label shop
