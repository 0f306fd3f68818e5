"""Names in one spelling: what counts as a word of a name, and what databases compare."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream.domain.names import is_couple, normalise, sound, words_of


@pytest.mark.parametrize(
    "nothing", ["", " ", "...", "J.", "J P", "Cliente", "cliente whatsapp", "ana@x.com", "119876", "😀", "Sr."]
)
def test_what_is_no_name_has_no_words(nothing: str) -> None:
    """Initials alone, titles and what stands in a name's place say nothing of who somebody is."""
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
    """What people write around their name is left out; a numeral is the suffix that it stands for."""
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
    """How a name is spelled depends on the registry's clerk."""
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
    """Two given names with "e" between them are not one person's; a surname with "e" is."""
    assert all(is_couple(name) for name in ("João e Maria Silva", "Ana & Pedro", "ana/pedro", "Ana Silva e João Souza"))
    assert not any(
        is_couple(name) for name in ("Ana Souza e Silva", "Ana/Lima", "José E Silva", "João", "E. Souza", "")
    )


@given(st.text(max_size=300))
@example("ﬃ" * 200)
@example("João d\N{RIGHT SINGLE QUOTATION MARK}Ávila e Souza")
@example("'DA")
def test_the_normal_form_is_stable(name: str) -> None:
    """Normalising twice changes nothing; only capitals and single blanks are left."""
    normal = normalise(name)
    assert normalise(normal) == normal
    assert normal == " ".join(normal.split())
    assert not normal or normal.replace(" ", "").isalpha()
    assert normal.isascii()


def test_particles_and_accents_go() -> None:
    """The normal form is what databases compare."""
    assert normalise("João Antônio da Silva e Souza-Gonçalves") == "JOAO ANTONIO SILVA SOUZA GONCALVES"
