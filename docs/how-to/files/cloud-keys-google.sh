where="--project corp-pki --location europe-west1 --keyring acme-ca"
gcloud kms keyrings create acme-ca --project corp-pki --location europe-west1
gcloud kms keys create prod $where --purpose asymmetric-signing --default-algorithm ec-sign-p256-sha256 \
    --protection-level hsm
for role in roles/cloudkms.signer roles/cloudkms.publicKeyViewer; do
    gcloud kms keys add-iam-policy-binding prod $where --role "$role" \
        --member serviceAccount:acme-ca@corp-pki.iam.gserviceaccount.com
done
