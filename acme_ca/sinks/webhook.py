"""An HTTPS endpoint that takes batches of events: as a JSON array, or CEF as lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from acme_ca import https
from acme_ca.https import Endpoint, FetchFailedError
from acme_ca.paths import ExistingFile
from acme_ca.secret import Secret, SecretUnavailableError
from acme_ca.sinks.base import DeliveryFailedError, SealedEvent, Sink
from acme_ca.sinks.formats import FORMATS
from acme_ca.vocabulary import FormatName

SUCCESSFUL = range(200, 300)


def _https_url(value: str) -> str:
    if not value.startswith("https://") or any(letter <= " " or letter > "~" for letter in value):
        raise ValueError(f"expected a URL that starts with https://, not {value!r}")
    return value


class Webhook(Sink):
    """An HTTPS endpoint. A batch counts as taken when the answer's status is 2xx; whatever else, it is sent again."""

    type: Literal["webhook"] = "webhook"
    url: Annotated[str, AfterValidator(_https_url)]
    """Where batches are sent by POST. Redirects are not followed."""
    ca_file: ExistingFile | None = None
    """A PEM file of roots that the server's certificate may come from; the system's by default."""
    token: Secret | None = None
    """Sent as `Authorization: Bearer`."""
    timeout: float = Field(default=10.0, gt=0, le=25)
    """Seconds until a request without an answer has failed."""
    format: FormatName = "native"
    """How an event is written."""

    def deliver(self, events: Sequence[SealedEvent]) -> None:
        """Send the events in one request. `X-Audit-Sequence` tells receivers what they have already."""
        lines = [FORMATS[self.format](event) for event in events]
        is_text = self.format == "cef"
        body = "\n".join(lines) if is_text else f"[{','.join(lines)}]"
        headers = {
            "Content-Type": "text/plain; charset=utf-8" if is_text else "application/json",
            "X-Audit-Sequence": f"{events[0].seq}-{events[-1].seq}",
        }
        try:
            if self.token is not None:
                headers["Authorization"] = f"Bearer {self.token.reveal().decode('ascii')}"
            endpoint = Endpoint(self.url, self.ca_file, self.timeout)
            response = https.request(endpoint, "POST", body.encode(), headers)
        except (FetchFailedError, SecretUnavailableError, UnicodeDecodeError) as error:
            raise DeliveryFailedError(f"webhook {self.name}: {error}") from error
        if response.status not in SUCCESSFUL:
            raise DeliveryFailedError(f"webhook {self.name}: {self.url} answered with status {response.status}")
