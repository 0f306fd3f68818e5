"""Text from outside: one line that does nothing to a terminal, a spreadsheet, a page or a reader."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.domain.errors import PoisonError
from stream.domain.sources.c2s import read_lead as lead_from_c2s
from stream.domain.sources.google_ads import read_lead as lead_from_google
from stream.domain.text import cell, is_id, one_line

# What acts on a screen or is not seen on it, a piece of each kind.
HARMFUL = "\x00\x07\x08\x1b\x7f\x85\x9b\xad\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202e\u2060\u2066\u2069"
HARMFUL += "\ufeff\ufff9\u2028\u2029\r\n\t\x0b\x0c\U000e0041\U000e007f\ud800\udfff\ue000\u115f\u3164"


@given(st.text(st.one_of(st.sampled_from(HARMFUL), st.characters())), st.one_of(st.none(), st.integers(1, 50)))
def test_any_text_becomes_one_harmless_line(text: str, limit: int | None) -> None:
    """The line has no control, format, surrogate or separator character, single blanks only, and the allowed length."""
    line = one_line(text, limit)
    assert not [one for one in line if unicodedata.category(one) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}]
    assert line == " ".join(line.split(" ")).strip(" ")
    assert "  " not in line
    assert limit is None or len(line) <= limit
    assert one_line(line, limit) == line


@pytest.mark.parametrize(
    "text",
    [
        "José Antônio D'Ávila-Souza Júnior",
        unicodedata.normalize("NFD", "José Antônio"),
        "Nguyễn Thị Ánh",
        "Иван Петров",
        "李小龙",
        "محمد علي",
        "अमित कुमार",
        "שרה כהן",
        "Ana ❤️ 😀 🇧🇷 👩🏽",
        "O'Brien & Filhos <Ltda>",
    ],
)
def test_names_of_people_stay(text: str) -> None:
    """Accents, also as combining marks, other scripts and emoji stay."""
    assert one_line(text) == text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Ana\nCPF: 111.222.333-44", "Ana CPF: 111.222.333-44"),
        ("Ana\u2028CPF:\u20291", "Ana CPF: 1"),
        ("\x1b[31mAna\x1b[0m", "Ana"),
        ("\x1b]8;;http://evil.example\x07Ana\x1b]8;;\x07", "Ana"),
        ("\x1b]0;title\x1b\\Ana", "Ana"),
        ("\x9b2JAna", "Ana"),
        ("Ana \x1b]0;never ends", "Ana ]0;never ends"),
        ("Ana\u202egro.live", "Anagro.live"),
        ("A\u200bn\u00ada", "Ana"),
        ("👩\u200d👧", "👩👧"),
        ("\u3000Ana\u00a0 \t Souza ", "Ana Souza"),
        ("a" + "\u0301" * 40, "a" + "\u0301" * 4),
    ],
)
def test_characters_that_act_on_a_screen_are_removed(text: str, line: str) -> None:
    """Line ends, terminal sequences, direction marks, invisible characters and piles of marks are removed."""
    assert one_line(text) == line


@pytest.mark.parametrize(
    "text",
    [
        "=HYPERLINK(1)",
        "+1+1",
        "-1+1|cmd",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        " =1",
        "\u200b=1",
        "\uff1d1",
        "google;=1+1",
        "a, =1",
        "a|@x",
    ],
)
def test_no_cell_of_a_spreadsheet_is_a_formula(text: str) -> None:
    """No cell is a formula, also where a semicolon separates cells."""
    shown = cell(text)
    for begun in [shown, *shown.replace(",", ";").replace("|", ";").split(";")]:
        assert begun.strip()[:1] not in {"=", "+", "-", "@", "\uff1d"}, shown


@pytest.mark.parametrize("text", ["-1", "+1.50", "-0,5", "12", "google_ads", "2026-11-24", "BRL", "50%", "-3%"])
def test_figures_and_words_stay_what_they_are(text: str) -> None:
    """Numbers and words are not changed, so a column of numbers can be added up."""
    assert cell(text) == text


IDS = [
    ".",
    "..",
    "%2e",
    "%2E%2e",
    "%252e%252e",
    ". ",
    "../x",
    "a/../b",
    "a\\..\\b",
    "x%2f..%2fy",
    "a\nb",
    "\x1b[2J",
    "a\x00",
    "\u202eb",
    " ",
]


@pytest.mark.parametrize("lead", IDS)
def test_an_unsafe_id_is_refused(lead: str) -> None:
    """An id that changes a path or is not printable raises PoisonError, of either source."""
    assert not is_id(lead)
    with pytest.raises(PoisonError):
        lead_from_c2s({"id": lead, "attributes": {"updated_at": "2026-01-31T12:00:00Z"}})
    with pytest.raises(PoisonError):
        lead_from_google({"lead_id": lead})


@pytest.mark.parametrize(
    "lead", ["L1", "3f2a9c01d4e5b6a7", "a.b", "...", "[/x]", "a/b", "é 1", "50%", "c34c2cc6-06e3-5b23"]
)
def test_a_safe_id_is_accepted(lead: str) -> None:
    """An id that can be one segment of a path is accepted."""
    assert is_id(lead)
    assert lead_from_google({"lead_id": lead}).id == lead
