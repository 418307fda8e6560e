sed -i '/^anchors = /d; /^anchor_crls = /d' "$ACME_CA_CONFIG"
acme-ca config check
