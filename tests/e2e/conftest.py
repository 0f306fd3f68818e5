"""The databases of the component tests, here too."""

from tests.component.conftest import (  # noqa: F401 - fixtures
    database_settings,
    database_url,
    empty_database_url,
    pool,
    postgres_url,
    template,
)
