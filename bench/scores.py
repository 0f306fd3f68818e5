"""Scores a rule on leads whose person is known: by outcome, by kind of noise, and by why it was wrong."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from bench.corpus import Lead
from bench.judges import FIRST_FIT, JUDGES, OURS, Judge, Verdict, decide
from bench.told_apart import DISTINGUISHABLE, Seen, why_wrong
from bench.typed_names import INITIAL, canonical

RIGHT, WARNED, NOBODY = "right", "right with a warning", "nobody"
WRONG_WARNED, SILENT = "wrong with a warning", "silent wrong"
CLASSES = (RIGHT, WARNED, NOBODY, WRONG_WARNED, SILENT)
# What a text proves. The first two are no proof of anybody, whoever is known: a right answer has to be warned of.
FIRST_NAME, NO_FIRST_NAME, SURE = "a first name alone", "an initial or the second given name", "all others"


@dataclass(frozen=True, slots=True)
class Judged:
    """A lead and what a rule made of it. ``why``: of a silent wrong answer, see ``told_apart``; else ""."""

    lead: Lead
    verdict: Verdict
    outcome: str
    why: str = ""


@dataclass(slots=True)
class Score:
    """The counts of one rule."""

    outcomes: Counter[str] = field(default_factory=Counter)
    by_kind: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    why: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    ambiguous: int = 0
    endless: int = 0

    def add(self, one: Judged) -> None:
        """Count one lead."""
        self.outcomes[one.outcome] += 1
        self.why[one.why] += 1
        self.calls += one.verdict.asked
        self.ambiguous += one.verdict.candidates > 0
        self.endless += not one.verdict.ended
        for group in groups(one.lead):
            self.by_kind[group][one.outcome] += 1
            self.by_kind[group][one.why] += bool(one.why)

    @property
    def distinguishable(self) -> int:
        """Wrong answers without a warning that could have been avoided."""
        return sum(self.why[why] for why in DISTINGUISHABLE)


@dataclass(slots=True)
class Scores:
    """The counts of all rules, and the first rule's right answers that this project gave up."""

    leads: int = 0
    by_judge: dict[str, Score] = field(default_factory=lambda: defaultdict(Score))
    right: Counter[str] = field(default_factory=Counter)  # the first rule's, by evidence
    lost: Counter[tuple[str, str]] = field(default_factory=Counter)  # of those, by evidence and this project's outcome
    wrong: list[Judged] = field(default_factory=list)  # silent, distinguishable, of this project
    given_up: list[Judged] = field(default_factory=list)

    def add(self, lead: Lead) -> None:
        """Let every rule judge one lead."""
        self.leads += 1
        said = {judge.name: judged(judge, lead) for judge in JUDGES}
        for name, one in said.items():
            self.by_judge[name].add(one)
        ours = said[OURS]
        if ours.why in DISTINGUISHABLE:
            self.wrong.append(ours)
        if said[FIRST_FIT].outcome == RIGHT and said[FIRST_FIT].verdict.match == "name":
            proof = evidence(lead)
            self.right[proof] += 1
            if ours.outcome != RIGHT:
                self.lost[proof, ours.outcome] += 1
                if proof is SURE:
                    self.given_up.append(ours)


def score(corpus: Iterable[Lead]) -> Scores:
    """Score each rule on the corpus."""
    scores = Scores()
    for lead in corpus:
        scores.add(lead)
        if scores.leads % 5_000 == 0:
            print(f"  {scores.leads:,} leads", file=sys.stderr, end="\r")
    return scores


def judged(judge: Judge, lead: Lead) -> Judged:
    """Let one rule answer one lead, and compare its answer with the truth."""
    verdict = decide(judge, lead)
    if not verdict.cpf:
        return Judged(lead, verdict, NOBODY)
    is_silent = verdict.match in judge.silent
    if verdict.cpf == lead.person.cpf:
        # Whether or not anybody is warned: right is what the name proved.
        return Judged(lead, verdict, RIGHT if verdict.match in {"name", None} else WARNED)
    if not is_silent:
        return Judged(lead, verdict, WRONG_WARNED)
    true = verdict.seen.get(lead.person.cpf) or Seen(lead.person, (), 0)
    return Judged(lead, verdict, SILENT, why_wrong(lead.typed, true, verdict.seen[verdict.cpf]))


def evidence(lead: Lead) -> str:
    """What the text proves. A typed CPF makes every text sure."""
    first = lead.typed.first
    if lead.cpf:
        return SURE
    if not lead.typed.has_surname:
        return FIRST_NAME
    is_given = first is not None and first.form != INITIAL and first.meant == canonical(lead.person.given[0])
    return SURE if is_given else NO_FIRST_NAME


def groups(lead: Lead) -> tuple[str, ...]:
    """The groups in which a lead is reported."""
    headings = [lead.kind]
    if lead.person.suffix:
        headings.append("(suffix typed)" if lead.typed.suffix else "(suffix left out)")
    if lead.cpf:
        headings.append("(own CPF in the form)" if lead.cpf == lead.person.cpf else "(spouse's CPF in the form)")
    if lead.phone is not None:
        headings.append(_PHONES[lead.phone.scenario])
    return tuple(headings)


_PHONES = {
    "own": "(phone: owner alone)",
    "household": "(phone: owner and relatives)",
    "former": "(phone: owner and former owners)",
    "relative_only": "(phone: relatives only)",
    "former_only": "(phone: former owners only, recycled)",
    "nobody": "(phone: not known)",
}
