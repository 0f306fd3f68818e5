"""Names in normal form: the words of a name, and the form that databases compare."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream.domain.names import is_couple, normalise, sound, words_of


@pytest.mark.parametrize(
    "nothing", ["", " ", "...", "J.", "J P", "Cliente", "cliente whatsapp", "ana@x.com", "119876", "😀", "Sr."]
)
def test_a_text_that_is_no_name_has_no_words(nothing: str) -> None:
    """Initials alone, titles and words typed in place of a name are no name."""
    assert words_of(nothing) == ()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Dr. João da Silva", "JOAO SILVA"),
        ("Dona Maria", "MARIA"),
        ("lead Ana Souza (WhatsApp)", "ANA SOUZA"),
        ("João Silva 2º", "JOAO SILVA II"),
        ("D\N{RIGHT SINGLE QUOTATION MARK}Ávila", "DAVILA"),
    ],
)
def test_titles_and_fillers_are_no_part_of_a_name(name: str, words: str) -> None:
    """Titles and greetings are left out; a numeral is read as its suffix."""
    assert " ".join(words_of(name)) == words


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("LUIZ", "LUIS"),
        ("THIAGO", "TIAGO"),
        ("SOUSA", "SOUZA"),
        ("RUTH", "RUTE"),
        ("VICTOR", "VITOR"),
        ("DANIELI", "DANIELE"),
    ],
)
def test_spellings_of_one_sound_are_one_word(one: str, other: str) -> None:
    """Spellings that sound alike are one word."""
    assert sound(one) == sound(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("PAULO", "PAULA"),
        ("MARIA", "MARIANA"),
        ("DANIEL", "DANIELA"),
        ("MARIO", "MARIA"),
        ("LUIS", "LUISA"),
        ("ANA", "ANE"),
    ],
)
def test_other_given_names_are_other_words(one: str, other: str) -> None:
    """No spelling rule turns one given name into another."""
    assert sound(one) != sound(other)


def test_a_couple_is_two_people() -> None:
    """Two given names joined by "e" are two people; a surname after "e" is not."""
    assert all(is_couple(name) for name in ("João e Maria Silva", "Ana & Pedro", "ana/pedro", "Ana Silva e João Souza"))
    assert not any(
        is_couple(name) for name in ("Ana Souza e Silva", "Ana/Lima", "José E Silva", "João", "E. Souza", "")
    )


@given(st.text(max_size=300))
@example("ﬃ" * 200)
@example("João d\N{RIGHT SINGLE QUOTATION MARK}Ávila e Souza")
@example("'DA")
def test_the_normal_form_is_stable(name: str) -> None:
    """Normalising twice changes nothing; the normal form has capitals and single blanks only."""
    normal = normalise(name)
    assert normalise(normal) == normal
    assert normal == " ".join(normal.split())
    assert not normal or normal.replace(" ", "").isalpha()
    assert normal.isascii()


def test_particles_and_accents_go() -> None:
    """The normal form has no particles and no accents."""
    assert normalise("João Antônio da Silva e Souza-Gonçalves") == "JOAO ANTONIO SILVA SOUZA GONCALVES"
