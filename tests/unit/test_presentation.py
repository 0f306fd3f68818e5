"""How secrets are presented: read from a request, refused with the right challenge, judged by what must be guessed."""

from __future__ import annotations

import base64

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from producers.auth import SharedSecrets, has_demo_secret, has_short_secret, is_malformed
from producers.presentation import BasicAuth, BodyField, HeaderOrUrl, presented, refusal
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
    """User and password, in UTF-8, whatever the case of the scheme."""
    assert asked(f"{scheme} {basic(f'{user}:{password}'.encode())}") == f"{user}:{password}"


@pytest.mark.parametrize(
    "header",
    [None, "", "Basic", "Basic ", "Basic !!!", "Basic YQ", "Bearer YTpi", "YTpi", "Basic YTpi YTpi", "Basic ç"],
)
def test_what_is_no_basic_header_presents_nothing(header: str | None) -> None:
    """Another scheme or no base64 is no credential, and no error."""
    assert asked(header) in {None, ""}
    assert asked(f"Basic {basic(b'a:' + bytes([0xE7, 0xFF]))}") is None


@given(st.text(max_size=60))
def test_only_the_configured_credentials_are_right(text: str) -> None:
    """Whatever else is sent is wrong, and none of it raises."""
    secrets = SharedSecrets([SecretStr(f"olx:{LONG}"), SecretStr(f"next:{LONG}")])
    header = f"Basic {basic(text.encode('utf-8', 'surrogatepass'))}"
    request = make_mocked_request("POST", "/", headers={"Authorization": header})
    assert secrets.verify(presented(BASIC, request)) == (text in {f"olx:{LONG}", f"next:{LONG}"})


def test_a_challenge_names_the_scheme() -> None:
    """A sender without credentials is told how to send them; the other kinds have no scheme of HTTP's."""
    assert refusal(BASIC)[1]["WWW-Authenticate"].startswith('Basic realm="')
    assert refusal(HEADER)[1] == refusal(BodyField("google_key"))[1] == {}


def test_the_user_adds_nothing_to_the_strength_of_a_secret() -> None:
    """A long user with a short password can be guessed."""
    assert has_short_secret([SecretStr(f"{'u' * 30}:short")], BASIC)
    assert not has_short_secret([SecretStr(f"u:{LONG}")], BASIC)
    assert not has_short_secret([SecretStr(f"u:{LONG}")], HEADER)


@pytest.mark.parametrize("secret", ["password-without-a-user", ":password", "user:", ":"])
def test_credentials_without_user_or_password_are_malformed(secret: str) -> None:
    """Nobody could ever present them; a token may have any form."""
    assert is_malformed([SecretStr(f"u:{LONG}"), SecretStr(secret)], BASIC)
    assert not is_malformed([SecretStr(f"u:{LONG}")], BASIC)
    assert not is_malformed([SecretStr(secret)], HEADER)


@pytest.mark.parametrize("demo", sorted(DEMO_SECRETS))
def test_a_public_password_is_public_whoever_the_user_is(demo: str) -> None:
    """What stands in the source is known to everybody, with another user as well."""
    assert has_demo_secret([SecretStr(demo)], HEADER)
    assert has_demo_secret([SecretStr(f"u:{demo}")], BASIC)
    assert not has_demo_secret([SecretStr(f"u:{LONG}")], BASIC)


def test_no_spelling_of_credentials_is_logged() -> None:
    """The pair, the password alone and what stands in the header are blotted out."""
    configure(load({"C2S_WEBHOOK_TOKEN": f"olx:{LONG}"}), "producers")
    for said in (f"olx:{LONG}", LONG, basic(f"olx:{LONG}".encode())):
        assert said not in mask(f"sent {said} once")
