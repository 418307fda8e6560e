connect {
  enabled     = true
  ca_provider = "consul"
  ca_config {
    private_key           = "-----BEGIN EC PRIVATE KEY-----\n..."  # consul-ca.key
    root_cert             = "-----BEGIN CERTIFICATE-----\n..."     # consul-ca.pem
    leaf_cert_ttl         = "72h"
    intermediate_cert_ttl = "720h"
  }
}
