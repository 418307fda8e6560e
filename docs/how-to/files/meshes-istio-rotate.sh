kubectl create secret generic cacerts --namespace istio-system --dry-run=client --output yaml \
  --from-file=ca-cert.pem --from-file=ca-key.pem --from-file=root-cert.pem --from-file=cert-chain.pem | kubectl apply -f -
kubectl rollout restart deployment/istiod --namespace istio-system
