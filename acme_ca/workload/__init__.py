"""Workload identity: who vouches for workloads, one module for each kind. docs/workload-identity-00.md."""
