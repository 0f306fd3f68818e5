"""The right person, a warning, or nobody: leads whose person is known, judged by this project and by two other rules.

``bench/rates.py`` has every rate of the corpus, ``bench/told_apart.py`` says which silent wrong answers could have been
avoided. ``--examples N`` prints that many of them, ``--lost N`` leads that the first rule answers rightly and without
a warning, and this project with a warning or not at all.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bench import rates
from bench.corpus import Lead, leads
from bench.judges import FIRST_FIT, JUDGES, OURS, Judge, Verdict, decide
from bench.result import Options, Row, at_most
from bench.told_apart import DISTINGUISHABLE, INDISTINGUISHABLE, Seen, why_wrong
from bench.typed_names import INITIAL, canonical

GOALS = (
    "silent wrong: 0 wherever lead and candidates can be told apart",
    "of the first rule's right answers to a given name and a surname at most 3 in 100 become a warning or nobody",
)
COMMAND = "python -m bench matching"
LEADS = 100_000
RIGHT, WARNED, NOBODY = "right", "right with a warning", "nobody"
WRONG_WARNED, SILENT = "wrong with a warning", "silent wrong"
CLASSES = (RIGHT, WARNED, NOBODY, WRONG_WARNED, SILENT)
MOST_LOST = 3.0  # in 100
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
    """What one rule came to."""

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
        """Silent wrong answers that could have been avoided."""
        return sum(self.why[why] for why in DISTINGUISHABLE)


@dataclass(slots=True)
class Scores:
    """What all rules came to, and what this project gave up of the first rule's right answers."""

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


async def run(options: Options) -> list[Row]:
    """Judge the corpus."""
    scores = score(leads(options.seed, max(100, int(LEADS * options.scale))))
    _print("distinguishable silent wrong answers of this project", scores.wrong, options.examples)
    _print("right answers of the first rule that this project warns of or does not give", scores.given_up, options.lost)
    return rows(scores)


def score(corpus: Iterable[Lead]) -> Scores:
    """What each rule makes of the corpus."""
    scores = Scores()
    for lead in corpus:
        scores.add(lead)
        if scores.leads % 5_000 == 0:
            print(f"  {scores.leads:,} leads", file=sys.stderr, end="\r")
    return scores


def judged(judge: Judge, lead: Lead) -> Judged:
    """Let one rule judge one lead, and hold its answer against the truth."""
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
    """Which names prove so little that they must be warned of, whoever the candidates are; "" for all others."""
    first = lead.typed.first
    if lead.cpf:
        return SURE
    if not lead.typed.has_surname:
        return FIRST_NAME
    is_given = first is not None and first.form != INITIAL and first.meant == canonical(lead.person.given[0])
    return SURE if is_given else NO_FIRST_NAME


def groups(lead: Lead) -> tuple[str, ...]:
    """Under which headings a lead is reported."""
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


def rows(scores: Scores) -> list[Row]:
    """The table: a line for each outcome of each rule, then one for each kind of noise."""
    table = []
    for judge in JUDGES:
        one = scores.by_judge[judge.name]
        for outcome in CLASSES:
            note = f"{one.outcomes[outcome]:,} of {scores.leads:,}"
            if outcome == NOBODY and one.ambiguous:
                note += f"; {one.ambiguous:,} ambiguous"
            share = 100 * one.outcomes[outcome] / scores.leads
            table.append(_row(f"{judge.name}: {outcome}", share, "in 100", note))
        is_ours = judge.name == OURS
        note = _counts(one.why, DISTINGUISHABLE)
        goal = at_most(0, one.distinguishable) if is_ours else ("", None)
        table.append(_row(f"{judge.name}: silent wrong, distinguishable", one.distinguishable, "leads", note, goal))
        count = sum(one.why[why] for why in INDISTINGUISHABLE)
        note = _counts(one.why, INDISTINGUISHABLE)
        table.append(_row(f"{judge.name}: silent wrong, indistinguishable", count, "leads", note))
        goal = at_most(0, one.endless) if is_ours else ("", None)
        table.append(_row(f"{judge.name}: never comes to an end", one.endless, "leads", "", goal))
        table.append(_row(f"{judge.name}: Diretrix calls", 100 * one.calls / scores.leads, "in 100 leads"))
    return [*table, *_lost(scores), *_by_kind(scores)]


def _lost(scores: Scores) -> list[Row]:
    """What this project warns of or does not give of the first rule's right answers, by what the text proves."""
    table = []
    for proof in (FIRST_NAME, NO_FIRST_NAME, SURE):
        lost = {outcome: scores.lost[proof, outcome] for outcome in CLASSES if outcome != RIGHT}
        share = 100 * sum(lost.values()) / max(1, scores.right[proof])
        note = f"of {scores.right[proof]:,}: {_counts(lost, tuple(lost))}"
        goal = at_most(MOST_LOST, share) if proof is SURE else ("", None)
        table.append(_row(f"lost of the first rule's right answers, {proof}", share, "in 100", note, goal))
    share = 100 * sum(scores.lost.values()) / max(1, sum(scores.right.values()))
    return [
        *table,
        _row("lost of the first rule's right answers", share, "in 100", "with those that must be warned of"),
    ]


def _by_kind(scores: Scores) -> list[Row]:
    """Silent wrong answers of this project in 10,000 leads of a kind; the other rules' stand in the note."""
    table = []
    ours = scores.by_judge[OURS].by_kind
    for kind in (*rates.KINDS, *sorted(set(ours) - set(rates.KINDS))):
        mine = ours[kind]
        count = sum(mine[outcome] for outcome in CLASSES)
        if not count:
            continue
        shares = ", ".join(f"{outcome} {100 * mine[outcome] / count:.1f}" for outcome in CLASSES[:-1])
        others = [scores.by_judge[judge.name].by_kind[kind][SILENT] for judge in JUDGES if judge.name != OURS]
        said = " and ".join(f"{1e4 * other / count:,.0f}" for other in others)
        told = sum(mine[why] for why in DISTINGUISHABLE)
        note = f"{said} of the others; {count:,} leads, {told} distinguishable; in 100: {shares}"
        table.append(_row(f"{kind}: silent wrong", 1e4 * mine[SILENT] / count, "in 10,000", note))
    return table


def _row(name: str, value: float, unit: str, note: str = "", goal: tuple[str, bool | None] = ("", None)) -> Row:
    return Row(f"matching, {name}", value, unit, *goal, COMMAND, note)


def _counts(counts: Mapping[str, int], keys: tuple[str, ...]) -> str:
    """What there is of each; nothing of what there is none of."""
    return ", ".join(f"{counts[key]:,} {key}" for key in keys if counts[key])


def _print(title: str, found: list[Judged], most: int) -> None:
    if most:
        print(f"\n{title}: {len(found):,}", file=sys.stderr)
    for one in found[:most]:
        print(explained(one), file=sys.stderr)


def explained(one: Judged) -> str:
    """A lead with all that was known, for whoever improves the rule."""
    lead, verdict = one.lead, one.verdict
    said = lead.people[verdict.cpf].name if verdict.cpf else f"nobody ({verdict.candidates} candidates)"
    lines = [
        f"- typed {lead.typed.text!r} ({lead.kind}), is {lead.person.name!r}; "
        f"answered {said!r}, match {verdict.match}: {one.outcome} {one.why}".rstrip()
    ]
    for alias in lead.aliases:
        asked, listed = (
            [(entry.name or "(no name)") + ("*" if entry.cpf == lead.person.cpf else "") for entry in entries]
            for entries in (alias.asked, alias.listed)
        )
        kind = "e-mail" if "@" in alias.value else "phone"
        stored = "stored" if alias.stored else "to be asked"
        lines.append(f"    {kind}: {alias.scenario}, {stored} {asked}, listed {listed}")
    if lead.cpf:
        lines.append(f"    CPF in the form: {lead.people[lead.cpf].name!r}")
    return "\n".join(lines)
