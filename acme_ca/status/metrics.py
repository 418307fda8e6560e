"""Metrics of all processes in the Prometheus text format."""

from flask import Flask, Response

from acme_ca import metrics
from acme_ca.authority import Authority


def install(app: Flask, _ca: Authority) -> None:
    """Add `/metrics`."""
    app.add_url_rule("/metrics", "metrics", _show, provide_automatic_options=False)


def _show() -> Response:
    return Response(metrics.render(), content_type=metrics.CONTENT_TYPE)
