"""The matching corpus has its stated rates, and the policy attaches no distinguishable person wrongly."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

import bench
from bench import rates
from bench.corpus import Alias, Entry, Lead, leads
from bench.families import Person
from bench.judges import FIRST_FIT, JUDGES, OURS, TOKEN_SET, decide
from bench.matching import rows
from bench.scores import CLASSES, SILENT, Scores, score
from bench.told_apart import DISTINGUISHABLE, INDISTINGUISHABLE, Seen, why_wrong
from bench.typed_names import Typed, Word, canonical

GENERATOR = ("census", "rates", "families", "typed_names", "corpus", "told_apart")
FOLDER = Path(bench.__file__).parent
COUNT = 6_000  # leads; half of them are judged


@pytest.fixture(scope="module")
def corpus() -> list[Lead]:
    """Enough leads to see the rates."""
    return list(leads(1, COUNT))


@pytest.fixture(scope="module")
def scores(corpus: list[Lead]) -> Scores:
    """The scores of each rule on half of the leads."""
    return score(corpus[: COUNT // 2])


def test_the_corpus_is_repeatable(corpus: list[Lead]) -> None:
    """The same seed gives the same leads; another seed gives others."""
    assert list(leads(1, 300)) == corpus[:300]
    assert [lead.typed for lead in leads(2, 300)] != [lead.typed for lead in corpus[:300]]


@pytest.mark.parametrize("name", GENERATOR)
def test_the_generator_does_not_ask_the_code_under_test(name: str) -> None:
    """Neither the corpus nor ``told_apart`` imports code of the project."""
    imported: set[str] = set()
    for node in ast.walk(ast.parse((FOLDER / f"{name}.py").read_text("utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            imported.add(node.module)
            imported |= {f"{node.module}.{alias.name}" for alias in node.names}
    ours = {module for module in imported if module.split(".")[0] in {"bench", "stream", "producers", "tests"}}
    allowed = {"bench", *(f"bench.{one}" for one in GENERATOR)}
    assert imported
    assert {module for module in ours if module not in allowed and module.rpartition(".")[0] not in allowed} == set()


def test_every_table_of_shares_adds_up() -> None:
    """Each table of shares adds up to 1."""
    shares = {
        name: table for name, table in vars(rates).items() if isinstance(table, dict) and not name.startswith("_")
    }
    assert len(shares) == 8
    for name, table in shares.items():
        assert sum(table.values()) == pytest.approx(1), name


def test_names_are_typed_at_the_stated_rates(corpus: list[Lead]) -> None:
    """Each kind of noise has its stated share of the leads."""
    found = Counter(lead.kind for lead in corpus)
    assert set(found) == set(rates.KINDS)
    for kind, share in rates.KINDS.items():
        assert found[kind] / COUNT == pytest.approx(share, abs=_chance(share)), kind


@pytest.mark.parametrize(("name", "shares"), [("phone", rates.PHONES), ("email", rates.EMAILS)])
def test_partners_answer_at_the_stated_rates(corpus: list[Lead], name: str, shares: dict[str, float]) -> None:
    """Owners, missing owners and earlier answers have their stated shares."""
    aliases = [alias for lead in corpus if (alias := getattr(lead, name)) is not None]
    found = Counter(alias.scenario for alias in aliases)
    for scenario, share in shares.items():
        assert found[scenario] / len(aliases) == pytest.approx(share, abs=_chance(share)), scenario
    assert sum(alias.stored for alias in aliases) / len(aliases) == pytest.approx(rates.STORED, abs=0.03)


def test_what_leads_give_has_the_stated_rates(corpus: list[Lead]) -> None:
    """Phone alone, e-mail alone, the own CPF and another person's have their stated shares."""
    counted = {
        "only a phone": (sum(lead.email is None for lead in corpus), rates.ONLY_PHONE),
        "only an e-mail": (sum(lead.phone is None for lead in corpus), rates.ONLY_EMAIL),
        "the own CPF": (sum(lead.cpf == lead.person.cpf for lead in corpus), rates.OWN_CPF),
        "the spouse's": (sum(lead.cpf not in {"", lead.person.cpf} for lead in corpus), rates.SPOUSE_CPF),
    }
    for name, (count, share) in counted.items():
        assert count / COUNT == pytest.approx(share, abs=_chance(share)), name


def test_suffixes_are_left_out_at_the_stated_rate(corpus: list[Lead]) -> None:
    """People with a suffix who type their whole name leave it out at the stated rate."""
    whole = [lead for lead in corpus if lead.kind in {"whole", "plain", "first_last"} and lead.person.suffix]
    assert len(whole) > 50
    assert sum(bool(lead.typed.suffix) for lead in whole) / len(whole) == pytest.approx(rates.SUFFIX_TYPED, abs=0.12)


def test_the_order_of_an_answer_is_no_proof(corpus: list[Lead]) -> None:
    """If a phone's owner is listed with another person, each comes first equally often."""
    two = [
        (lead.phone.asked[0].cpf, lead.person.cpf)
        for lead in corpus
        if lead.phone is not None and lead.phone.scenario in {"household", "former"} and len(lead.phone.asked) == 2
    ]
    assert sum(first == owner for first, owner in two) / len(two) == pytest.approx(0.5, abs=0.1)


JOSE = Person("1", "M", ("José", "Carlos"), ("Lima", "de Souza"), "Filho")


@pytest.mark.parametrize("kind", [kind for kind in rates.KINDS if kind != "married"])
def test_each_kind_of_noise_keeps_what_was_meant(kind: str, corpus: list[Lead]) -> None:
    """After any noise the intended words are the person's."""
    some = [lead for lead in corpus if lead.kind == kind]
    assert some
    for lead in some:
        named = {word for one in (*lead.person.given, *lead.person.surnames) for word in canonical(one).split()}
        typed = lead.typed
        meant = {one.meant for one in (typed.first, *typed.others) if one is not None}
        assert meant <= named
        assert typed.suffix in {"", lead.person.suffix} or kind == "suffix_added"


def _typed(first: str, *others: str, suffix: str = "") -> Typed:
    return Typed("", Word(first, first), tuple(Word(one, one) for one in others), suffix, has_surname=bool(others))


@pytest.mark.parametrize(
    ("typed", "wrong", "known", "why"),
    [
        (_typed("JOSE", "SOUZA"), ("José", "Lima|de Souza", ""), True, "tie"),
        (_typed("JOSE", "SOUZA"), ("José", "Lima|de Souza", ""), False, "unknown"),
        (_typed("JOSE", "SOUZA", suffix="Filho"), ("José", "Lima|de Souza", ""), False, "contradicted"),
        (_typed("JOSE", "SOUZA"), ("Maria José", "Lima|de Souza", ""), False, "contradicted"),
        (_typed("JOSE", "SOUZA"), ("José", "Lima", ""), False, "contradicted"),
        (_typed("JOSE", "LIMA", "SOUZA"), ("José", "Souza", ""), False, "middle"),
        (_typed("JOSE", "LIMA", "SOUZA"), ("José", "Souza", ""), True, "contradicted"),
        (_typed("JOSE", "CARLOS", "LIMA", "SOUZA"), ("José Carlos", "Lima|de Souza", ""), True, "suffix, both known"),
        (_typed("JOSE", "CARLOS", "LIMA", "SOUZA"), ("José Carlos", "Lima|de Souza", ""), False, "suffix"),
        (_typed("JOSE", "CARLOS", "LIMA", "SOUZA"), ("José Carlos", "Lima|de Souza", "Filho"), False, "homonym"),
        (
            _typed("JOSE", "CARLOS", "LIMA", "SOUZA", suffix="Filho"),
            ("José Carlos", "Lima|de Souza", "Filho"),
            True,
            "tie",
        ),
        (_typed("JOSE", "SOUZA"), ("José", "Souza", ""), True, "exact"),
        (_typed("CARLOS", "SOUZA"), ("Carlos", "Lima|de Souza", ""), True, "closer"),
        (Typed(""), ("Maria", "Lima", ""), True, "tie"),
        (Typed(""), ("Maria", "Lima", ""), False, "unknown"),
    ],
)
def test_what_can_be_told_apart(typed: Typed, wrong: tuple[str, str, str], known: bool, why: str) -> None:  # noqa: FBT001
    """Whether a wrong answer is distinguishable depends on the intended words, not on the code under test."""
    given, surnames, suffix = wrong
    other = Person("2", "M", tuple(given.split()), tuple(surnames.split("|")), suffix)
    assert why_wrong(typed, Seen(JOSE, (JOSE,) if known else (), 1), Seen(other, (other,), 1)) == why
    assert why in {*DISTINGUISHABLE, *INDISTINGUISHABLE}


def test_who_is_named_by_more_aliases_is_no_guess() -> None:
    """A person named by phone and e-mail, of two whom the text fits, is no guess."""
    other = Person("2", "M", ("José",), ("Lima", "de Souza"))
    assert why_wrong(_typed("JOSE", "SOUZA"), Seen(JOSE, (JOSE,), 1), Seen(other, (other,), 2)) == "aliases"


def test_the_gate_no_distinguishable_person_is_attached_wrongly(scores: Scores) -> None:
    """Nobody gets another person's data without a warning if the text tells the two apart."""
    ours = scores.by_judge[OURS]
    assert sum(ours.outcomes.values()) == COUNT // 2
    assert ours.distinguishable == 0, [one.lead.typed.text for one in scores.wrong[:5]]


def test_a_candidate_whom_nobody_can_name_comes_to_an_end() -> None:
    """A CPF without a name that the Work API does not know ends with nobody, not in a loop."""
    alias = Alias("+5511987650123", "own", (Entry(JOSE.cpf, None),), stored=False, listed=())
    lead = Lead(
        0,
        "first_last",
        Typed("José Souza"),
        JOSE,
        "alone",
        alias,
        None,
        people={JOSE.cpf: JOSE},
        unknown=frozenset({JOSE.cpf}),
    )
    verdict = decide(JUDGES[0], lead)
    assert (verdict.ended, verdict.cpf) == (True, "")


def test_the_other_rules_are_measured_beside_it(scores: Scores) -> None:
    """The first rule and the token-set ratio attach distinguishable people wrongly, so the corpus can detect it."""
    for name in (FIRST_FIT, TOKEN_SET):
        one = scores.by_judge[name]
        assert sum(one.outcomes.values()) == COUNT // 2
        assert sum(one.why[why] for why in (*DISTINGUISHABLE, *INDISTINGUISHABLE)) == one.outcomes[SILENT]
        assert one.distinguishable > 10


def test_the_table_has_each_rule_and_each_kind(scores: Scores) -> None:
    """The table has every outcome of every rule, both goals and every kind of noise."""
    table = {row.name: row for row in rows(scores)}
    for rule in (OURS, FIRST_FIT, TOKEN_SET):
        shares = [table[f"matching, {rule}: {outcome}"].value for outcome in CLASSES]
        assert sum(shares) == pytest.approx(100)
    assert {f"matching, {kind}: silent wrong" for kind in rates.KINDS} <= set(table)
    assert [row.goal for row in table.values() if row.goal] == ["<= 0", "<= 0", "<= 3"]


def _chance(share: float) -> float:
    """How far a share of the corpus may differ from the stated one: four standard deviations."""
    return float(4 * (share * (1 - share) / COUNT) ** 0.5)
