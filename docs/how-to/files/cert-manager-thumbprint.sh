thumbprint=$(
    kubectl get secret corp-prod-account --namespace pay --output jsonpath='{.data.tls\.key}' | base64 --decode |
        python3 -c 'import sys; from joserfc.jwk import RSAKey; print(RSAKey.import_key(sys.stdin.read()).thumbprint())'
)
kubectl create configmap corp-prod-account --namespace pay --from-literal=thumbprint="$thumbprint"
