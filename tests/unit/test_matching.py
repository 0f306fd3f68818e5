"""How well a lead's name fits a known one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.domain.matching import Grade, compare

WORDS = ["BARBOSA", "DUARTE", "ESTEVES", "FERREIRA", "GOMES", "HENRIQUES", "IGREJAS", "LOPES"]
names = st.lists(st.sampled_from(WORDS), min_size=2, max_size=5, unique=True)
SUFFIXES = ["Junior", "Jr", "Jr.", "Júnior", "Filho", "Neto", "Netto", "Sobrinho", "Segundo", "II", "III", "2º"]

EXACT = [
    ("João Pereira da Silva", "JOAO PEREIRA DA SILVA"),
    ("luiz sousa", "LUIS DE SOUZA"),
    ("Dr. João Silva Jr.", "JOAO SILVA JUNIOR"),
    ("João Silva II", "JOAO SILVA SEGUNDO"),
    ("Silva, João", "JOAO SILVA"),
    ("Souza Junior, Carlos", "CARLOS SOUZA JUNIOR"),
    ("D\N{RIGHT SINGLE QUOTATION MARK}Ávila, Ana", "ANA D AVILA"),
    ("Mariaeduarda Costa", "MARIA EDUARDA COSTA"),
    ("Carlos Souza pai", "CARLOS SOUZA"),
    ("Souza, Carlos Filho", "CARLOS SOUZA FILHO"),
    ("Søren Müller", "SOREN MULLER"),
]
COMPATIBLE = [
    ("joao silva", "JOAO PEREIRA DA SILVA"),
    ("Silva João", "JOAO PEREIRA DA SILVA"),
    ("Silva, João P.", "JOAO PEREIRA DA SILVA"),
    ("Lima Vinícius", "VINICIUS MOURA LIMA JUNIOR"),
    ("João P. Silva", "JOAO PEREIRA DA SILVA"),
    ("João Pereira da Sil", "JOAO PEREIRA DA SILVA"),
    ("Maria Neto Silva", "MARIA NETO SILVA COSTA"),
    ("Carlos E. Souza", "CARLOS EDUARDO SOUZA"),
    ("Manoel Baptista", "MANUEL LIMA BATISTA"),
    ("Oi, sou Ana Lima", "ANA SOUZA LIMA"),
    ("Mathias Tei", "MATHIAS TEIXEIRA"),
    ("Ana Souza Lima", "ANA LIMA"),
    ("Carlos Souza", "CARLOS SOUZA FILHO"),
    ("Carlos Neto", "CARLOS SOUZA NETO"),
    ("Ana Olivera", "ANA OLIVEIRA"),
    ("Rafael Vasconselos", "RAFAEL LIMA VASCONCELOS"),
    ("Maria Costa", "MARIA EDUARDA COSTA"),
]
WEAK = [
    ("Maria", "MARIA SOUZA"),
    ("MARIA", "Maria"),
    ("Maria", "MARIA EDUARDA COSTA"),
    ("Eduarda", "MARIA EDUARDA COSTA"),
    ("Ana Paula", "ANA PAULA SOUZA"),
    ("Maria do Carmo", "MARIA DO CARMO LIMA"),
    ("J. Silva", "JOAO SILVA"),
    ("Ana S.", "ANA SOUZA"),
    ("Ana Lima", "ANA SOUZA"),
    ("Ana Souza Lima", "ANA SOUZA COSTA"),
    ("Ana Costa", "ANA COSTANTINO"),
    ("Ana Prado", "ANA PARDO"),
    ("Silva", "JOAO SILVA"),
    ("Zé", "JOSE DA SILVA"),
    ("Duda", "EDUARDA LIMA"),
    ("Júnior", "CARLOS SOUZA JUNIOR"),
    ("João e Maria Silva", "JOAO SILVA"),
    ("Ana Silva e João Souza", "ANA SILVA"),
    ("Maria Eduarda Silva", "MARIA SILVA"),
    ("Ana Beatriz Souza Lima", "ANA SOUZA LIMA"),
    ("Camila de Melo Cavalcanti", "CAMILA DE MELO"),
    ("Carlos Souza F.", "CARLOS SOUZA"),
    ("José Ailton", "JOSE AILTON SANTOS"),
    ("José Erivaldo Santos", "JOSE EDIVALDO SANTOS"),
    ("Maria Cla", "MARIA CLARA SOUZA"),
    ("Ana Kim", "ANA KIMURA"),
    ("Ana Mar", "ANA MARTINS"),
    ("Ana Paula", "ANA PEREIRA DE PAULA"),
    ("Carlos Souza J.", "CARLOS JOSE SOUZA"),
    ("Ana Lemes", "ANA LEMOS"),
    ("Ana Marinho", "ANA MARINO"),
    ("Carlos E. Souza", "CARLOS ALBERTO SOUZA"),
    ("Maria I. Silva", "MARIA APARECIDA SILVA"),
    ("Paulo Hamada", "PAULO HARADA"),
    ("Ana Muller", "ANA MILLER"),
]
CONTRADICTS = [
    ("Carlos Souza Filho", "CARLOS SOUZA"),
    ("Antonio Junior", "ANTONIO COSTA"),
    ("Carlos Silva Neto", "CARLOS SILVA FILHO"),
    ("Carlos Souza Fil", "CARLOS SOUZA"),
    ("José da Silva", "MARIA JOSE DA SILVA"),
    ("Maria José da Silva", "JOSE DA SILVA"),
    ("José Maria da Silva", "MARIA JOSE DA SILVA"),
    ("Maria Souza", "MARIANA SOUZA"),
    ("Souza, Maria", "MARIANA SOUZA"),
    ("Daniel", "DANIELA LIMA"),
    ("Paulo Lima", "PAULA LIMA"),
    ("Mario Souza", "MARIA SOUZA"),
    ("Márcia Souza", "MARIA SOUZA"),
    ("José Mario Silva", "JOSE MARIA SILVA"),
    ("João Pedro Silva", "JOAO PAULO SILVA"),
    ("Ana Paula Souza", "ANA CLAUDIA SOUZA"),
    ("Carlos", "ANA SOUZA"),
    ("Zé Lima", "JOSE DA SILVA"),
    ("Souza, Carlos Filho", "CARLOS SOUZA"),
    ("Souza Carlos Filho", "CARLOS SOUZA"),
    ("Carlos Jr Souza", "CARLOS SOUZA"),
    ("Carlos Souza Junior SP", "CARLOS SOUZA"),
    ("Carlos Souza filho do Carlos", "CARLOS SOUZA"),
    ("Carlos Souza Fº", "CARLOS SOUZA"),
    ("Carlos Souza Júnnior", "CARLOS SOUZA"),
    ("Carlos Souza Sobrinio", "CARLOS SOUZA"),
    ("Carlos Souza 4º", "CARLOS SOUZA"),
    ("Carlos Souza pai", "CARLOS SOUZA FILHO"),
    ("Carlos Souza Sênior", "CARLOS SOUZA JUNIOR"),
    ("José Maria", "MARIA JOSE"),
    ("Luiz Carlos", "CARLOS LUIZ"),
    ("Josi Silva", "JOSE SILVA"),
    ("Hanna Lima", "ANA LIMA"),
    ("Zara Lima", "SARA LIMA"),
    ("Maria Neto", "MARIA NETO SILVA"),
    ("Luan A. Silva", "LUANA SILVA"),
    ("Luísa Lima", "LUIS A LIMA"),
    ("Rosa Maria Silva", "MARIA SILVA ROSA"),
    ("Carlos Souza Filho", "CARLOS SOUZA FILHO NETO"),
]


@pytest.mark.parametrize(
    ("lead", "known", "grade"),
    [
        *((*pair, Grade.EXACT) for pair in EXACT),
        *((*pair, Grade.COMPATIBLE) for pair in COMPATIBLE),
        *((*pair, Grade.WEAK) for pair in WEAK),
        *((*pair, Grade.CONTRADICTS) for pair in CONTRADICTS),
    ],
)
def test_the_grades_of_the_table(lead: str, known: str, grade: Grade) -> None:
    """Each row of the table in docs/matching.md has its grade."""
    assert compare(lead, known).grade is grade


@pytest.mark.parametrize("nothing", ["", "Cliente", "ana@x.com", "J."])
def test_without_a_name_nothing_is_compared(nothing: str) -> None:
    """If either side has no name, the grade is none."""
    assert compare(nothing, "ANA SOUZA").grade is compare("ANA SOUZA", nothing).grade is Grade.NONE


@given(names, st.sampled_from(SUFFIXES), st.sampled_from(SUFFIXES))
def test_a_suffix_that_a_lead_gives_is_never_ignored(name: list[str], mine: str, theirs: str) -> None:
    """A lead that gives a suffix never fits the father or the grandson."""
    lead = " ".join(name).title()
    own = compare(f"{lead} {mine}", f"{lead} {theirs}".upper()).grade
    assert compare(f"{lead} {mine}", lead.upper()).grade is Grade.CONTRADICTS
    assert own in {Grade.EXACT, Grade.CONTRADICTS}
    assert compare(lead, f"{lead} {theirs}".upper()).grade is Grade.COMPATIBLE


@given(names, st.data())
def test_some_of_the_surnames_in_any_order_are_compatible(name: list[str], data: st.DataObject) -> None:
    """The first name with one or more of the surnames, in any order, is compatible."""
    some = data.draw(st.lists(st.sampled_from(name), min_size=1, unique=True))
    assert compare(f"Ana {' '.join(some)}".title(), f"ANA LIMA {' '.join(name)}").grade >= Grade.COMPATIBLE


@given(names, st.sampled_from(["ZULMIRA", "XAVIER"]))
def test_one_word_too_many_on_each_side_is_never_sure(name: list[str], stranger: str) -> None:
    """If each name has a word that the other lacks, the grade is weak at most."""
    assert compare(f"Ana {stranger}", f"ANA {' '.join(name)}").grade <= Grade.WEAK


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_text_raises(one: str, other: str) -> None:
    """Any text gets a grade; a name of two words is exact with itself."""
    assert compare(one, other).grade in Grade
    if len(one.split()) > 1 and compare(one, one).grade is not Grade.NONE:
        assert compare(one, one).grade >= Grade.WEAK
