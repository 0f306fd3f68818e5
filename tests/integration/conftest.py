"""The databases of the component tests; every process that a test starts ends with it."""

from collections.abc import AsyncIterator

import pytest

from tests.component.conftest import (  # noqa: F401 - fixtures
    database_settings,
    database_url,
    empty_database_url,
    pool,
    postgres_container,
    postgres_url,
    template,
)
from tests.support.enriched import end_started


@pytest.fixture(autouse=True)
async def _nothing_outlives_its_test() -> AsyncIterator[None]:
    yield
    await end_started()
