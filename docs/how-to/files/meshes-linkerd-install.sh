linkerd install --crds | kubectl apply -f -
linkerd install --identity-trust-anchors-file anchors.crt \
  --identity-issuer-certificate-file issuer.crt --identity-issuer-key-file issuer.key | kubectl apply -f -
