kubectl create secret generic acme-ca-$environment-eab --namespace cert-manager --from-literal=secret=$eab_key
