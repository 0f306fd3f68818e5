"""How secrets are presented: read from a request, refused with the right challenge, judged by what must be guessed."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from producers.auth import SharedSecrets, has_demo_secret, has_short_secret, is_malformed
from producers.openapi import with_webhooks
from producers.presentation import BasicAuth, BodyField, HeaderOrUrl, presented, refusal
from producers.sources import ENDPOINTS
from stream.domain.sources.lead import Source
from stream.logs import configure, mask
from stream.settings import DEMO_SECRETS, load

BASIC, HEADER = BasicAuth(), HeaderOrUrl("X-Webhook-Token", "token")
LONG = "sixteen-or-more-characters"


def basic(value: bytes) -> str:
    return base64.b64encode(value).decode()


def asked(authorization: str | None) -> str | None:
    headers = {} if authorization is None else {"Authorization": authorization}
    return presented(BASIC, make_mocked_request("POST", "/", headers=headers))


@pytest.mark.parametrize("user", ["olx", "", "ç"])
@pytest.mark.parametrize("password", [LONG, "with:colons:in it", "ção 16 caracteres"])
@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
def test_basic_credentials_are_read(scheme: str, user: str, password: str) -> None:
    """User and password in UTF-8 are read, whatever the case of the scheme."""
    assert asked(f"{scheme} {basic(f'{user}:{password}'.encode())}") == f"{user}:{password}"


@pytest.mark.parametrize(
    "header",
    [None, "", "Basic", "Basic ", "Basic !!!", "Basic YQ", "Bearer YTpi", "YTpi", "Basic YTpi YTpi", "Basic ç"],
)
def test_an_invalid_basic_header_presents_nothing(header: str | None) -> None:
    """Another scheme or invalid base64 presents no secret and raises nothing."""
    assert asked(header) in {None, ""}
    assert asked(f"Basic {basic(b'a:' + bytes([0xE7, 0xFF]))}") is None


@given(st.text(max_size=60))
def test_only_the_configured_credentials_are_right(text: str) -> None:
    """Every other text is wrong and raises nothing."""
    secrets = SharedSecrets([SecretStr(f"olx:{LONG}"), SecretStr(f"next:{LONG}")])
    header = f"Basic {basic(text.encode('utf-8', 'surrogatepass'))}"
    request = make_mocked_request("POST", "/", headers={"Authorization": header})
    assert secrets.verify(presented(BASIC, request)) == (text in {f"olx:{LONG}", f"next:{LONG}"})


def test_a_source_without_a_parameter_reads_no_secret_from_the_url() -> None:
    """A secret in a URL ends in the logs of proxies: it counts only where the sender can't set headers."""
    only_header = HeaderOrUrl("X-Portal-Token")
    assert presented(only_header, make_mocked_request("POST", f"/?token={LONG}&None={LONG}")) is None
    assert presented(HEADER, make_mocked_request("POST", f"/?token={LONG}")) == LONG
    assert presented(only_header, make_mocked_request("POST", "/", headers={"X-Portal-Token": LONG})) == LONG
    assert "URL" not in refusal(only_header)[0]


def test_two_sources_with_headers_of_their_own_have_two_schemes() -> None:
    """The document of the API describes each source's own secret."""
    c2s = ENDPOINTS[Source.C2S]
    portal = replace(c2s, path="/portal", presentation=HeaderOrUrl("X-Portal-Token"))
    document = with_webhooks({"paths": {}, "components": {"schemas": {}}}, [c2s, portal])
    assert set(document["components"]["securitySchemes"]) == {"X-Webhook-Token", "url-token", "X-Portal-Token"}
    assert document["paths"]["/portal"]["post"]["security"] == [{"X-Portal-Token": []}]


def test_a_challenge_names_the_scheme() -> None:
    """HTTP Basic is answered with a challenge; the other presentations have none."""
    assert refusal(BASIC)[1]["WWW-Authenticate"].startswith('Basic realm="')
    assert refusal(HEADER)[1] == refusal(BodyField("google_key"))[1] == {}


def test_the_user_adds_nothing_to_the_strength_of_a_secret() -> None:
    """A long user with a short password counts as short."""
    assert has_short_secret([SecretStr(f"{'u' * 30}:short")], BASIC)
    assert not has_short_secret([SecretStr(f"u:{LONG}")], BASIC)
    assert not has_short_secret([SecretStr(f"u:{LONG}")], HEADER)


@pytest.mark.parametrize("secret", ["password-without-a-user", ":password", "user:", ":"])
def test_credentials_without_user_or_password_are_malformed(secret: str) -> None:
    """HTTP Basic needs both; a token may have any form."""
    assert is_malformed([SecretStr(f"u:{LONG}"), SecretStr(secret)], BASIC)
    assert not is_malformed([SecretStr(f"u:{LONG}")], BASIC)
    assert not is_malformed([SecretStr(secret)], HEADER)


@pytest.mark.parametrize("demo", sorted(DEMO_SECRETS))
def test_a_demo_password_is_refused_with_every_user(demo: str) -> None:
    """The demo's password counts as public with another user too."""
    assert has_demo_secret([SecretStr(demo)], HEADER)
    assert has_demo_secret([SecretStr(f"u:{demo}")], BASIC)
    assert not has_demo_secret([SecretStr(f"u:{LONG}")], BASIC)


def test_no_spelling_of_credentials_is_logged() -> None:
    """The pair, the password alone and the value of the header are masked."""
    configure(load({"C2S_WEBHOOK_TOKEN": f"olx:{LONG}"}), "producers")
    for said in (f"olx:{LONG}", LONG, basic(f"olx:{LONG}".encode())):
        assert said not in mask(f"sent {said} once")
