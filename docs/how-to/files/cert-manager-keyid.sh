kubectl get secret acme-eab --namespace pay --output jsonpath='{.data.kid}' | base64 --decode
