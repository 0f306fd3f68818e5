"""What all groups of settings have in common."""

from __future__ import annotations

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict


class SettingsBase(BaseSettings):
    """Frozen settings that come from ``loading.load`` only and never show a value."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True, hide_input_in_errors=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Accept what ``load`` passes and nothing else: the library would read the environment itself."""
        return (init_settings,)

    def __repr__(self) -> str:
        """Show no value: a configuration never reaches a log as a whole."""
        return "Settings(...)"

    __str__ = __repr__
