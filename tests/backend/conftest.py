"""Fixtures of the backend's tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from jitgrad.backend import capi, specialisation


@pytest.fixture(params=["native", "python"])
def path(request: pytest.FixtureRequest) -> Iterator[str]:
    """Build on either path."""
    with nullcontext() if request.param == "native" else capi.python_only():
        yield request.param


@pytest.fixture(params=["own", "one"])
def entries(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let calls of plain forms be answered by entries of their own, or by the one for all."""
    monkeypatch.setattr(specialisation, "_LONG", -1 if request.param == "one" else 10**9)
    return str(request.param)
