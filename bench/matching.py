"""The right person, a warning, or nobody: this project and two other rules answer leads whose person is known.

``bench/rates.py`` has every rate of the corpus. ``bench/told_apart.py`` says which wrong answers without a warning
could have been avoided. ``--examples N`` prints N of those. ``--lost N`` prints N leads that the first rule answers
rightly and without a warning, and this project with a warning or not at all.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from bench import rates
from bench.corpus import leads
from bench.judges import JUDGES, OURS
from bench.result import Options, Row, at_most
from bench.scores import CLASSES, FIRST_NAME, NO_FIRST_NAME, NOBODY, RIGHT, SILENT, SURE, Judged, Scores, score
from bench.told_apart import DISTINGUISHABLE, INDISTINGUISHABLE

GOALS = (
    "silent wrong: 0 wherever lead and candidates can be told apart",
    "of the first rule's right answers to a given name and a surname at most 3 in 100 become a warning or nobody",
)
COMMAND = "python -m bench matching"
LEADS = 100_000
MOST_LOST = 3.0  # in 100


async def run(options: Options) -> list[Row]:
    """Score each rule on the corpus."""
    scores = score(leads(options.seed, max(100, int(LEADS * options.scale))))
    _print("distinguishable silent wrong answers of this project", scores.wrong, options.examples)
    _print("right answers of the first rule that this project warns of or does not give", scores.given_up, options.lost)
    return rows(scores)


def rows(scores: Scores) -> list[Row]:
    """The table: one row for each outcome of each rule, then one for each kind of noise."""
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
    """The first rule's right answers that this project warns of or does not give, by what the text proves."""
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
    """The numbers above 0, as text."""
    return ", ".join(f"{counts[key]:,} {key}" for key in keys if counts[key])


def _print(title: str, found: list[Judged], most: int) -> None:
    if most:
        print(f"\n{title}: {len(found):,}", file=sys.stderr)
    for one in found[:most]:
        print(explained(one), file=sys.stderr)


def explained(one: Judged) -> str:
    """A lead with everything that was known, for somebody who improves the rule."""
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
