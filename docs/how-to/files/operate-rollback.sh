acme-ca policy diff now 1 --environment prod || true
acme-ca policy rollback 1 --environment prod --comment "databases again"
