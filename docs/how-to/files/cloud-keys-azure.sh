vault=/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/pki/providers/Microsoft.KeyVault/vaults/corp-pki
az keyvault key create --vault-name corp-pki --name acme-ca-prod --kty EC-HSM --curve P-256 --ops sign verify
az role definition create --role-definition @cloud-keys-azure.json
az role assignment create --role "acme-ca signer" --scope "$vault/keys/acme-ca-prod" \
    --assignee-object-id "$IDENTITY" --assignee-principal-type ServicePrincipal
