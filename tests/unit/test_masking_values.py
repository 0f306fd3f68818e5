"""Masking: identifiers that are numbers, and secrets under any spelling of their names."""

from __future__ import annotations

import math

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.logs.masked import _mask_value, mask
from stream.logs.masking import is_secret_key
from tests.unit.test_masking import AREAS, CPFS, digits_of

MOBILES = st.tuples(
    st.sampled_from(["", "55"]), st.sampled_from(AREAS), st.from_regex(r"9[0-9]{7}[1-9]", fullmatch=True)
)
LANDLINES = st.tuples(
    st.sampled_from(["", "55"]), st.sampled_from(AREAS), st.from_regex(r"[2-5][0-9]{6}[1-9]", fullmatch=True)
)
NUMBERS = st.one_of(
    CPFS.filter(lambda cpf: cpf[0] != "0" and cpf[-1] != "0"), MOBILES.map("".join), LANDLINES.map("".join)
).map(int)


def spellings(number: int) -> list[str]:
    """A number as JSON, Python and C write it."""
    text = str(number)
    exponent = len(text) - 1
    mantissa = f"{text[0]}.{text[1:]}"
    return [
        text,
        repr(float(number)),
        f"{number}.00",
        f"{mantissa}e{exponent}",
        f"{mantissa}E+{exponent}",
        f"{mantissa}0e+{exponent:02d}",
        f"{text[:2]}.{text[2:]}E{exponent - 1}",
    ]


@given(
    NUMBERS,
    st.sampled_from(["{}", '{{"cpf":{},"n":1}}', "{{'phone': {}}}", "x={} y", "[{}, 1]", "[1, {}]", "np.float64({})"]),
)
def test_a_number_in_a_text_is_masked_in_every_spelling(number: int, around: str) -> None:
    """An integer, an empty fraction and an exponent are masked, alone, in JSON and in a repr."""
    for spelling in spellings(number):
        shown = mask(around.format(spelling))
        rest = len(digits_of(around.replace("float64", ""))) + 2 * ("float64" in around)
        assert len(digits_of(shown)) <= 2 + rest, (spelling, shown)


@given(NUMBERS)
def test_a_number_in_a_field_is_masked(number: int) -> None:
    """It is masked in every container, except in fields whose name says that they count."""
    for value in (number, float(number), -float(number), {"x": [float(number)]}, ({"x": number},), {float(number): 1}):
        shown = orjson.dumps(_mask_value("value", value)).decode()
        assert len(digits_of(shown)) <= 3, shown
    assert _mask_value("offset", float(number)) == number


@pytest.mark.parametrize(
    "value", [0.5, 12.25, 1e9 - 1, 1769860800.125, 1769860800123, 1769860800123.0, math.inf, 1e300, -3.0, True, None]
)
def test_other_numbers_of_a_field_stay(value: float | None) -> None:
    """Durations, times, shares and numbers that are too large or too small for an identifier stay."""
    assert _mask_value("value", value) == value


HIDDEN = "hunter22"
SECRETS = r"""
Authorization: Bearer hunter22
AUTHORIZATION=Basic hunter22
{'Authorization': 'Bearer hunter22'}
{'Authorization': b'Bearer hunter22', 'Host': 'x'}
((b'Authorization', b'Bearer hunter22'), (b'Host', b'x'))
Proxy-Authorization: hunter22
X-Webhook-Token: hunter22
x-webhook-token=hunter22
{"X_WEBHOOK_TOKEN": "hunter22"}
google_key=hunter22
GOOGLE_KEY: hunter22
{"googleKey": "hunter22"}
GOOGLE_ADS_KEY=hunter22
apiKey=hunter22
{'api_key': 'hunter22'}
X-Api-Key: hunter22
Token=hunter22
password: hunter22
PassWord : "two words, hunter22"
{"password": "it's hunter22"}
{"password": "a\"b hunter22"}
"{\"password\": \"a hunter22\"}"
password&quot;: &quot;hunter22&quot;
passwd=hunter22 pwd=hunter22 senha=hunter22
client_secret=hunter22&x=1
Cookie: session=hunter22; other=hunter22
got Bearer hunter22hunter22 again
https://user:hunter22@host/path
https://user:hunter22@x@host:9092
HTTPS://user:hunter22@host
postgresql://leads:p/hunter22@db/leads
http://h/x?TOKEN=hunter22
http://h/x?a=1&Api_Key=hunter22&b=2
http://h/x?key=hunter22
http://h/x?Token%3Dhunter22
%22password%22%3A%22hunter22%22
C2S_WEBHOOK_TOKEN=first,hunter22
""".strip().splitlines()


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_is_masked_under_every_spelling_of_its_name(text: str) -> None:
    """It is masked in headers, query strings, JSON, JSON in JSON, reprs and addresses."""
    for shown in (mask(text), mask(f"before {text}\nafter"), mask("\u0130\u00e9 " + text)):
        assert HIDDEN not in shown, shown


@pytest.mark.parametrize(
    "key", ["Authorization", "X-Webhook-Token", "google_key", "GOOGLE_KEY", "apiKey", "Token", "C2S_TOKEN"]
)
def test_a_field_named_as_a_secret_is_masked(key: str) -> None:
    """It is masked at any depth and in any case."""
    assert is_secret_key(key)
    assert HIDDEN not in str(_mask_value("x", {"y": [{key: HIDDEN}]}))


@pytest.mark.parametrize(
    "text",
    [
        "not configured: DIRETRIX_USER, C2S_TOKEN.",
        "KAFKA_SASL_PASSWORD_FILE=/run/secrets/kafka",
        "key: a third of the keys; monkey=1",
        "http://api.example:8080/x?page=2",
        "tokens 12, signal 15, assigned [1, 2], author=x",
        "leads-worker-1 at http://localhost:9092 and db:5432",
    ],
)
def test_text_that_is_no_secret_stays(text: str) -> None:
    """Names of variables, ports and similar words stay."""
    assert mask(text) == text
