"""The helper beside a workload: it turns what its platform vouches for into certificates, or into ACME clients' keys.

docs/workload-identity-00.md. `acme-workload eab` serves clients that know nothing of workloads; `acme-workload run`
is a client of its own.
"""
