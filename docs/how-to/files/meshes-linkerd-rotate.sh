linkerd upgrade --identity-issuer-certificate-file issuer.crt --identity-issuer-key-file issuer.key | kubectl apply -f -
kubectl get events --namespace linkerd --field-selector reason=IssuerUpdated
