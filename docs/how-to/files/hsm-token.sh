umask 077
openssl rand -hex 16 > pin
softhsm2-util --init-token --free --label acme-ca --pin "$(cat pin)" --so-pin "$(openssl rand -hex 16)"
