"""Fixtures of the backend's tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from jitgrad.backend import capi


@pytest.fixture(params=["native", "python"])
def path(request: pytest.FixtureRequest) -> Iterator[str]:
    """Build on either path."""
    with nullcontext() if request.param == "native" else capi.python_only():
        yield request.param
