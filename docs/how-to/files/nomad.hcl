job "api" {
  namespace = "pay"

  group "web" {
    task "server" {
      driver = "exec"

      identity {
        name        = "acme"
        aud         = ["https://ca.corp.example:8443/acme/prod/workload"]
        file        = true
        ttl         = "1h"
        change_mode = "noop"
      }

      config {
        command = "acme-workload"
        args = [
          "run",
          "--server", "https://ca.corp.example:8443/acme/prod/directory",
          "--ca-file", "/etc/acme/root.pem",
          "--token-file", "${NOMAD_SECRETS_DIR}/nomad_acme.jwt",
          "--spiffe-id", "spiffe://prod.corp.example/nomad/pay/api/server",
          "--dns", "api.pay.prod.corp.example",
          "--profile", "workload-1h",
          "--out", "${NOMAD_ALLOC_DIR}/identity",
        ]
      }
    }
  }
}
