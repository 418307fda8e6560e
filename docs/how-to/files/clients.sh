acme-ca client-config
acme-ca client-config certbot --environment prod --name app.prod.corp.example
acme-ca client-config cert-manager --environment prod --name app.prod.corp.example --name www.prod.corp.example
acme-ca client-config caddy --environment prod --profile server-8h --root /etc/caddy/root.pem
