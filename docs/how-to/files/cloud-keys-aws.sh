arn=$(aws kms create-key --region eu-west-1 --key-spec ECC_NIST_P256 --key-usage SIGN_VERIFY \
    --description "acme-ca: prod" --query KeyMetadata.Arn --output text)
aws kms create-alias --region eu-west-1 --alias-name alias/acme-ca-prod --target-key-id "$arn"
