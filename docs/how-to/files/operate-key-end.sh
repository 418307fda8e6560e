kid=$(python3 -c 'import json; print(json.load(open("key.json"))["kid"])')
acme-ca eab revoke "$kid" --environment prod --revoke cessationOfOperation --dry-run
acme-ca eab revoke "$kid" --environment prod --revoke cessationOfOperation
