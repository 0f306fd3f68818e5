"""The CRM sync and the journal."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, SecretStr

from stream.settings.base import SettingsBase
from stream.settings.types import Duration


class CrmSettings(SettingsBase):
    """The CRM sync and the journal."""

    c2s_base_url: str = Field("http://localhost:9", description="Base URL of the C2S API")
    c2s_token: SecretStr = Field(SecretStr(""), description="Token for the C2S API")
    c2s_timeout: Duration = Field(timedelta(seconds=30), description="Time limit of one C2S call")
    c2s_type_negotiation: str = Field(
        "Compra", description="Value of type_negotiation in leads that the CRM sync creates"
    )
    c2s_source: str = Field(
        "Google Ads",
        description="Value of source in created leads whose webhook source has no name of its own in the CRM",
    )
    c2s_seller_id: str = Field("", description="Seller of leads that the CRM sync creates; empty: the CRM decides")
    crm_concurrency: int = Field(8, ge=1, description="Maximum concurrent C2S calls per CRM sync process")
    crm_note_not_found: bool = Field(default=False, description="Write a message to the CRM also when nobody was found")
    crm_resend_unconfirmed: bool = Field(
        default=False, description="Resend unconfirmed writes, which may have been carried out already"
    )
    crm_web_host: str = Field("127.0.0.1", description="Address on which the CRM sync serves its pages")
    crm_web_port: int = Field(6067, ge=0, le=65535, description="Port of the CRM sync's pages; 0: any free port")
    journal_web_host: str = Field("127.0.0.1", description="Address on which the journal serves its pages")
    journal_web_port: int = Field(6068, ge=0, le=65535, description="Port of the journal's pages; 0: any free port")
