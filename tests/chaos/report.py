"""A run's figures, and the promises that were broken."""

from __future__ import annotations

from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from tests.chaos import verifier
from tests.chaos.evidence import Evidence

SHOWN = 5  # examples of a broken promise


@dataclass(slots=True)
class Report:
    """The result of one scenario. ``broken``: one sentence for each broken promise."""

    name: str
    seed: int
    seconds: float = 0.0
    figures: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return not self.broken


def judge(report: Report, evidence: Evidence, past_unfinished: set[tuple[int, int]]) -> None:
    """Fill in a report. ``past_unfinished``: the records below a commit that were unfinished at some check."""
    missing = verifier.missing(evidence)
    excused, wrong = verifier.paid_again(evidence.calls, evidence.kills)
    overtaken = verifier.out_of_order(evidence.arrivals, evidence.emissions)
    twice = verifier.written_twice(evidence)
    seconds = verifier.recovery(evidence.emissions, evidence.mended)
    identities = {arrival.event_id or arrival.place for arrival in evidence.arrivals}
    unsure = sum(call.status == "unsure" for call in evidence.calls)
    report.figures = {
        "webhooks": str(len(identities)),
        "events": str(len(evidence.emissions)),
        "missing": str(len(missing)),
        "repeated": str(verifier.repeated(evidence.emissions)),
        "order": str(overtaken),
        "commit past": str(len(past_unfinished)),
        "paid again": f"{len(excused) + len(wrong)} (under way or unsure: {len(excused)})",
        "CRM twice": f"{twice} (unconfirmed: {evidence.unconfirmed})",
        "dead": str(len(evidence.letters)),
        "recovery": "-" if seconds is None else f"{seconds:.1f} s",
    }
    for reason, times in evidence.reasons().most_common():
        report.notes[f"dead, {reason}"] = str(times)
    if unsure:
        report.notes["calls unsure"] = str(unsure)
    rules = [
        (missing, f"{len(missing)} webhooks have no event and no dead letter: {sorted(missing)[:SHOWN]}"),
        (evidence.answered - {one.event_id for one in evidence.arrivals}, "answered 200 and not in the topic"),
        (overtaken, f"{overtaken} webhooks overtook an earlier one of their contact"),
        (past_unfinished, f"a commit went past unfinished records at {sorted(past_unfinished)[:SHOWN]}"),
        (wrong, f"{len(wrong)} paid for again that were not under way at a kill"),
        (twice, f"{twice} facts are in the CRM twice"),
    ]
    if evidence.journal is not None:
        unwritten = verifier.ended(evidence.emissions, ()) - evidence.journal
        rules.append((unwritten, f"{len(unwritten)} webhooks are not in the journal's books"))
    report.broken += [sentence for broken, sentence in rules if broken]


def show(reports: list[Report], console: Console) -> None:
    """Print the final table: one column for each scenario, because most runs have more figures than scenarios."""
    table = Table(title="chaos", show_lines=False)
    table.add_column("")
    for report in reports:
        table.add_column(f"{report.name}\nseed {report.seed}", overflow="fold")
    names = list(dict.fromkeys(name for report in reports for name in report.figures))
    for name in names:
        table.add_row(name, *(report.figures.get(name, "-") for report in reports))
    table.add_row("took", *(f"{report.seconds:.0f} s" for report in reports))
    table.add_row("promises", *("kept" if report.kept else "BROKEN" for report in reports))
    console.print(table)
    for report in reports:
        for name, value in report.notes.items():
            console.print(f"{report.name}: {name}: {value}", highlight=False)
        for sentence in report.broken:
            console.print(f"{report.name} (seed {report.seed}): BROKEN: {sentence}", highlight=False, markup=False)
