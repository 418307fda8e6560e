sed -i 's|^anchors = .*|anchors = ["certificates/root.pem"]|; s|^anchor_crls = .*|anchor_crls = ["certificates/root-1.crl"]|' "$ACME_CA_CONFIG"
acme-ca config check
