# Renewed by `terraform apply` and by nothing else: let it run once a week at least. The keys are in Terraform's state.
# Where it runs: export LEGO_CA_CERTIFICATES=$root
terraform {
  required_providers {
    acme = {
      source = "vancluever/acme"
    }
    tls = {
      source = "hashicorp/tls"
    }
  }
}

provider "acme" {
  server_url = "$directory"
}

resource "tls_private_key" "account" {
  algorithm   = "ECDSA"
  ecdsa_curve = "P256"
}

resource "acme_registration" "account" {
  account_key_pem = tls_private_key.account.private_key_pem
  email_address   = "you@example.com"
  ${eab}external_account_binding {
    key_id      = "$eab_kid"
    hmac_base64 = "$eab_key"
  ${eab}}
}

resource "acme_certificate" "certificate" {
  account_key_pem           = acme_registration.account.account_key_pem
  common_name               = "$first_name"
  subject_alternative_names = $other_names_list
  key_type                  = "P256"
  min_days_remaining        = $days_left
  profile                   = "$profile"

  dns_challenge {
    provider = "rfc2136" # that of your zone; its settings come from the environment
  }
}
