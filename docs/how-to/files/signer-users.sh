useradd --system --user-group acme-ca
useradd --system --gid acme-ca --no-create-home acme-ca-signer
chown -R root:acme-ca /etc/acme-ca
chown -R acme-ca-signer /etc/acme-ca/keys
chmod 0700 /etc/acme-ca/keys
systemctl enable --now acme-ca-signer acme-ca
