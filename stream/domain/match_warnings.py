"""What a salesperson is told of how sure a match is: one Portuguese line that says what was compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from stream.domain.events import EnrichedEvent, Match, Outcome
from stream.domain.matching import Reason, compare

MAX_NAME_CHARS = 80  # of a name in a warning
CONFIRM = "confirme se é esta pessoa antes de usar os dados."

_WEAK = {
    Reason.FIRST_NAME_ONLY: "o lead informou apenas o primeiro nome",
    Reason.INITIAL: "o lead informou apenas uma inicial no nome",
    Reason.SURNAME_ONLY: "o lead informou apenas o sobrenome",
    Reason.NICKNAME: "o lead informou um apelido",
    Reason.OTHER_SURNAME: "o primeiro nome é o mesmo, mas o sobrenome informado é outro",
    Reason.COUPLE: "o lead informou o nome de duas pessoas",
}
_SHORT = "o lead informou apenas parte do nome"


def warning(event: EnrichedEvent) -> list[str]:
    """The line of an event with a person; none where the name fits."""
    lead_name = event.lead.name or ""
    person_name = event.person.name if event.person is not None else ""
    match event.match if event.outcome == Outcome.ENRICHED else str(event.outcome):
        case None | Match.NAME:
            return []
        case Match.FIRST_NAME:
            reason = compare(lead_name, person_name).reason
            return [f"ATENÇÃO: {_WEAK.get(reason, _SHORT)}{_quoted(lead_name)}; {CONFIRM}"]
        case Match.NO_NAME:
            return [f"ATENÇÃO: {_nameless(lead_name, person_name)}; {CONFIRM}"]
        case Match.NAME_DIFFERS:
            return [_differs(lead_name, person_name)]
        case Match.CONFLICTING:
            return [
                "ATENÇÃO: telefone e e-mail pertencem a pessoas diferentes; os dados são de quem tem o nome do lead."
            ]
        case _:
            # What a later version said is not known here: nobody may take it for a sure match.
            return ["ATENÇÃO: não foi possível avaliar se os dados são da pessoa do lead; confirme antes de usar."]


def ambiguous_lines(candidates: Sequence[str]) -> list[str]:
    """The message of a lead that several people fit: their names, nothing else of them, and what would settle it."""
    named = [
        name if count == 1 else f"{name} ({count} pessoas com este nome)"
        for name, count in Counter(_clean(one).title() or "pessoa sem nome na fonte" for one in candidates).items()
    ]
    return [
        "Enriquecimento: mais de uma pessoa corresponde a este contato; nenhum dado foi anexado.",
        f"Podem ser: {'; '.join(named)}.",
        "Para definir: complete o nome no lead (com Filho, Júnior ou Neto, se houver); a consulta será refeita.",
    ]


def _nameless(lead_name: str, person_name: str) -> str:
    if compare(lead_name, person_name).reason is Reason.NO_KNOWN_NAME:
        return f"a fonte não informa o nome para comparar com o do lead{_quoted(lead_name)}"
    return "o lead não informou o nome; os dados são de quem consta para este telefone ou e-mail"


def _differs(lead_name: str, person_name: str) -> str:
    text = f"ATENÇÃO: o nome informado no lead{_quoted(lead_name)} difere do nome encontrado{_quoted(person_name)}"
    if compare(lead_name, person_name).reason is Reason.GENERATION:
        text += "; podem ser parentes (Filho, Júnior, Neto)"
    return f"{text}."


def _quoted(name: str) -> str:
    clean = _clean(name)
    return f' ("{clean}")' if clean else ""


def _clean(name: str) -> str:
    """One line, of a bounded length."""
    return " ".join(name.split())[:MAX_NAME_CHARS]
