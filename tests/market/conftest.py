"""Fixtures of the market's tests."""

from collections.abc import AsyncIterator

import pytest
from served_exchange import Served, serving


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """An exchange at 60× with agents, in the test's own event loop."""
    async with serving() as started:
        yield started
