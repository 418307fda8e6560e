jq -n --rawfile key consul-ca.key --rawfile cert consul-ca.pem '{Provider: "consul",
  Config: {PrivateKey: $key, RootCert: $cert, LeafCertTTL: "72h", IntermediateCertTTL: "720h"}}' > ca.json
consul connect ca set-config -config-file ca.json
