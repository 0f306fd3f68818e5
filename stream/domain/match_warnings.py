"""Tells a salesperson how sure a match is: one Portuguese line that says what was compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from stream.domain.events import EnrichedEvent, Match, Outcome
from stream.domain.matching import Grade, Reason, compare
from stream.domain.names import words_of
from stream.domain.text import one_line

MAX_NAME_CHARS = 80  # of a name in a warning
CONFIRM = "confirme se é esta pessoa antes de usar os dados."

_WEAK = {
    Reason.FIRST_NAME_ONLY: "o lead informou apenas o primeiro nome",
    Reason.INITIAL: "o lead informou apenas uma inicial no nome",
    Reason.SURNAME_ONLY: "o lead informou apenas o sobrenome",
    Reason.NICKNAME: "o lead informou um apelido",
    Reason.OTHER_SURNAME: "o primeiro nome é o mesmo, mas o sobrenome informado é outro",
    Reason.MORE_GIVEN: "o lead informou um segundo nome que não consta na fonte",
    Reason.COUPLE: "o lead informou o nome de duas pessoas",
}
_SHORT = "o lead informou apenas parte do nome"


def warning(event: EnrichedEvent) -> list[str]:
    """The warning of an event with a person, as a list of one line; an empty list if the name fits."""
    lead_name = event.lead.name or ""
    person_name = event.person.name if event.person is not None else ""
    match event.match if event.outcome == Outcome.ENRICHED else str(event.outcome):
        case None | Match.NAME:
            return []
        case Match.FIRST_NAME:
            return [f"ATENÇÃO: {_partly(lead_name, person_name)}; {CONFIRM}"]
        case Match.NO_NAME:
            has_typed_cpf = event.person is not None and event.contact.cpf == event.person.cpf
            return [f"ATENÇÃO: {_nameless(lead_name, person_name, has_typed_cpf=has_typed_cpf)}; {CONFIRM}"]
        case Match.NAME_DIFFERS:
            return [_differs(lead_name, person_name)]
        case Match.CONFLICTING:
            return [_conflicting(event)]
        case _:
            # A later version may have written this value. It must not be taken for a sure match.
            return ["ATENÇÃO: não foi possível avaliar se os dados são da pessoa do lead; confirme antes de usar."]


def ambiguous_lines(candidates: Sequence[str]) -> list[str]:
    """The message for a lead that several people fit: their names, nothing else, and what would tell them apart."""
    counts = Counter(one_line(one, MAX_NAME_CHARS).title() for one in candidates)
    named = [_people(name, count) for name, count in counts.items()]
    if "" in counts or max(counts.values(), default=1) > 1:
        way_out = "peça ao cliente o CPF ou outro telefone ou e-mail; o nome não os distingue."
    else:
        way_out = "complete o nome no lead (com Filho, Júnior ou Neto, se houver); a consulta será refeita."
    return [
        "Enriquecimento: mais de uma pessoa corresponde a este contato; nenhum dado foi anexado.",
        f"Podem ser: {'; '.join(named)}.",
        f"Para definir: {way_out}",
    ]


def _people(name: str, count: int) -> str:
    if not name:
        return "uma pessoa sem nome na fonte" if count == 1 else f"{count} pessoas sem nome na fonte"
    return name if count == 1 else f"{name} ({count} pessoas com este nome)"


def _conflicting(event: EnrichedEvent) -> str:
    if event.contact.cpf and event.person is not None and event.contact.cpf != event.person.cpf:
        return f"ATENÇÃO: o CPF informado no lead não foi encontrado; os dados são de outro CPF; {CONFIRM}"
    return "ATENÇÃO: telefone e e-mail pertencem a pessoas diferentes; os dados são de quem tem o nome do lead."


def _partly(lead_name: str, person_name: str) -> str:
    grade, reason = compare(lead_name, person_name)
    if grade is not Grade.WEAK:  # the candidate was matched under another name than the registered one
        return f"o nome informado{_quoted(lead_name)} coincide só em parte com o da fonte"
    if reason is Reason.FIRST_NAME_ONLY and len(words_of(person_name)) == 1:
        return f"a fonte informa apenas o primeiro nome{_quoted(person_name)}"
    return f"{_WEAK.get(reason, _SHORT)}{_quoted(lead_name)}"


def _nameless(lead_name: str, person_name: str, *, has_typed_cpf: bool) -> str:
    if compare(lead_name, person_name).reason is Reason.NO_KNOWN_NAME:
        return f"a fonte não informa o nome para comparar com o do lead{_quoted(lead_name)}"
    if has_typed_cpf:
        return "o lead informou o CPF, mas não o nome"
    return "o lead não informou o nome; os dados são de quem consta para este telefone ou e-mail"


def _differs(lead_name: str, person_name: str) -> str:
    grade, reason = compare(lead_name, person_name)
    if grade >= Grade.COMPATIBLE:
        return f"ATENÇÃO: as fontes informam nomes diferentes para este contato; {CONFIRM}"
    text = f"ATENÇÃO: o nome informado no lead{_quoted(lead_name)} difere do nome encontrado{_quoted(person_name)}"
    return f"{text}; podem ser parentes (Filho, Júnior, Neto)." if reason is Reason.GENERATION else f"{text}."


def _quoted(name: str) -> str:
    clean = one_line(name, MAX_NAME_CHARS)
    return f' ("{clean}")' if clean else ""
