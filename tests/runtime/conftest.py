"""Tests that compute run on every backend: a new one is tested without a change here."""

import pytest

from ptir import backends


@pytest.fixture(params=backends.names())
def backend(request, monkeypatch):
    """The name of the backend that calls run on when they name none."""
    monkeypatch.setenv("PTIR_BACKEND", request.param)
    return request.param
