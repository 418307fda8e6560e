umask 077
acme-ca eab create --environment prod --label edge --json >eab.json
python3 -c 'import json; print(json.load(open("eab.json"))["mac_key"])' >edge.key
kid=$(python3 -c 'import json; print(json.load(open("eab.json"))["kid"])')
acme-ca client-config traefik --environment prod --eab-kid "$kid" --eab-key-file edge.key --json >traefik.json
