"""Whether two names belong to one person."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream.domain.names import Fit, fit, normalise

WORDS = ["ANA", "BEATRIZ", "CARLOS", "DUARTE", "ESTEVES", "FERREIRA", "GOMES", "HENRIQUE", "IGOR", "LOPES"]
names = st.lists(st.sampled_from(WORDS), min_size=2, max_size=5, unique=True)


@pytest.mark.parametrize(
    ("lead", "known"),
    [
        ("João", "JOAO PEREIRA DA SILVA"),
        ("joao silva", "JOAO PEREIRA DA SILVA"),
        ("Silva, João P.", "JOAO PEREIRA DA SILVA"),
        ("J. Silva", "JOAO PEREIRA DA SILVA"),
        ("João Pereira da Sil", "JOAO PEREIRA DA SILVA"),
        ("Ana Lima", "ANA SOUZA LIMA"),
        ("Ana Souza Lima", "ANA LIMA"),
        ("Luiz Sousa", "LUIS DE SOUZA"),
        ("Thiago Wagner", "TIAGO VAGNER ROCHA"),
        ("Rafaella D\N{RIGHT SINGLE QUOTATION MARK}Ângelo", "RAFAELA DANGELO"),
        ("Dr. João Silva Jr.", "JOAO SILVA JUNIOR"),
        ("Carlos Silva", "CARLOS SILVA FILHO"),
        ("Søren Müller", "SOREN MULLER"),
        ("MARIA", "Maria"),
    ],
)
def test_one_person_spelled_in_two_ways_fits(lead: str, known: str) -> None:
    """Accents, case, order, initials, missing, cut off and alike sounding words do not matter."""
    assert fit(lead, known) is fit(known, lead) is Fit.FITS


@pytest.mark.parametrize(
    ("lead", "known"),
    [
        ("Maria Souza", "MARIANA SOUZA"),
        ("Souza, Maria", "MARIANA SOUZA"),
        ("Daniel", "DANIELA LIMA"),
        ("Paulo Lima", "PAULA LIMA"),
        ("Ana Souza", "ANA LIMA"),
        ("João Pedro Silva", "JOAO PAULO SILVA"),
        ("Carlos Silva Neto", "CARLOS SILVA FILHO"),
        ("Carlos", "ANA SOUZA"),
    ],
)
def test_two_people_differ(lead: str, known: str) -> None:
    """Couples, siblings, mothers and daughters share phones: their names decide."""
    assert fit(lead, known) is fit(known, lead) is Fit.DIFFERS


@pytest.mark.parametrize(
    "nothing", ["", " ", "...", "J.", "J P", "Cliente", "cliente whatsapp", "ana@x.com", "119876", "😀", "Sr."]
)
def test_what_is_no_name_says_nothing(nothing: str) -> None:
    """A name that says nothing neither fits nor differs."""
    assert fit(nothing, "ANA SOUZA") is fit("ANA SOUZA", nothing) is Fit.NO_NAME


@given(names, st.data())
def test_any_part_of_a_name_in_any_order_fits(name: list[str], data: st.DataObject) -> None:
    """Whoever gives at least one of their names is not taken for somebody else."""
    some = data.draw(st.lists(st.sampled_from(name), min_size=1, unique=True))
    assert fit(" ".join(some).title(), " ".join(name)) is Fit.FITS


@given(names, st.sampled_from(["ZULMIRA", "XAVIER"]))
def test_a_word_that_nobody_knows_differs(name: list[str], stranger: str) -> None:
    """One word too many on the shorter side is another person."""
    assert fit(f"{name[0]} {stranger}", " ".join(name)) is Fit.DIFFERS


@given(st.text(), st.text())
def test_a_verdict_does_not_depend_on_the_side(one: str, other: str) -> None:
    """No text raises; the verdict is the same from both sides and on normal forms."""
    assert fit(one, other) is fit(other, one)
    if "@" not in one + other:
        assert fit(normalise(one), normalise(other)) is fit(one, other)


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
