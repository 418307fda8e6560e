"""Workload identity: who vouches for workloads, one module for each kind. docs/workload-identity-00.md."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from acme_ca.workload.aws_sigv4 import AwsSigV4
from acme_ca.workload.base import WORKLOAD_CHALLENGE as WORKLOAD_CHALLENGE
from acme_ca.workload.base import Expected as Expected
from acme_ca.workload.base import Proof as Proof
from acme_ca.workload.base import Provider as Provider
from acme_ca.workload.base import Workload as Workload
from acme_ca.workload.base import refusal as refusal
from acme_ca.workload.kubernetes import Kubernetes
from acme_ca.workload.oidc import Oidc
from acme_ca.workload.spiffe import Spiffe
from acme_ca.workload.x5c import X5c

AnyProvider = Annotated[Oidc | Kubernetes | Spiffe | X5c | AwsSigV4, Field(discriminator="type")]
"""The registry of providers: one that is not in this union does not exist."""
