"""The providers of data: addresses, credentials, prices, limits."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from pydantic import Field, SecretStr

from stream.domain.provider import Provider
from stream.settings.base import SettingsBase
from stream.settings.types import UNLIMITED, Budget, Duration, Partners


class PartnerSettings(SettingsBase):
    """The providers of data: addresses, credentials, prices, limits."""

    diretrix_base_url: str = Field("http://api.diretrixconsultoria.com.br", description="Base URL of the Diretrix API")
    diretrix_user: str = Field("", description="User name for the Diretrix API")
    diretrix_password: SecretStr = Field(SecretStr(""), description="Password for the Diretrix API")
    diretrix_timeout: Duration = Field(timedelta(seconds=10), description="Time limit of one Diretrix call")
    diretrix_price: Decimal = Field(
        Decimal("0.01"), ge=0, description="Price of one paid Diretrix call, in PRICE_CURRENCY"
    )
    price_currency: str = Field("BRL", description="Currency of the prices")
    diretrix_max_concurrency: int = Field(64, ge=1, description="Maximum concurrent Diretrix calls across all workers")
    diretrix_rate_per_second: float | None = Field(
        None, gt=0, description="Maximum Diretrix calls per second across all workers; unset: no limit"
    )
    diretrix_daily_budget: Budget = Field(
        None,
        description="Maximum paid Diretrix calls per Sao Paulo day across all workers: a number or unlimited; required",
    )
    work_api_base_url: str = Field("http://localhost:9", description="Base URL of the Work API")
    work_api_token: SecretStr = Field(SecretStr(""), description="Token for the Work API")
    work_api_timeout: Duration = Field(timedelta(seconds=15), description="Time limit of one Work API call")
    work_api_price: Decimal = Field(Decimal(0), ge=0, description="Price of one Work API call, in PRICE_CURRENCY")
    work_api_max_concurrency: int = Field(64, ge=1, description="Maximum concurrent Work API calls across all workers")
    work_api_rate_per_second: float | None = Field(
        None, gt=0, description="Maximum Work API calls per second across all workers; unset: no limit"
    )
    work_api_daily_budget: Budget = Field(
        UNLIMITED,
        description="Maximum Work API calls per Sao Paulo day across all workers: a number or unlimited",
    )
    plaintext_partners: Partners = Field(
        (Provider.DIRETRIX.value,),
        description="Partners that may be called over http:// outside this machine: diretrix, work, c2s",
    )
