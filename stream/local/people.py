"""Makes a fictitious population: people with valid CPFs, as Diretrix and the Work API would describe them.

The same seed makes the same people, so that a run can be repeated.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field
from typing import Any

_FIRST = {
    "F": ["Ana", "Beatriz", "Camila", "Daniela", "Eduarda", "Fernanda", "Gabriela", "Helena", "Isabela", "Juliana"],
    "M": ["André", "Bruno", "Carlos", "Diego", "Eduardo", "Felipe", "Gustavo", "Henrique", "Igor", "João"],
}
_MIDDLE = ["Alves", "Barbosa", "Cardoso", "Dias", "Esteves", "Ferreira", "Gomes", "Henriques", "Lopes", "Moraes"]
_LAST = ["Silva", "Souza", "Oliveira", "Pereira", "Lima", "Carvalho", "Ribeiro", "Rocha", "Martins", "Araújo"]
_CITIES = [("São Paulo", "SP", "01310100"), ("Curitiba", "PR", "80010000"), ("Recife", "PE", "50010000")]
_AREAS = ["11", "41", "81", "21", "31"]
_JOBS = ["ENGENHEIRA CIVIL", "PROFESSOR", "ADVOGADA", "MEDICO", "ANALISTA DE SISTEMAS"]


@dataclass(slots=True)
class Someone:
    """One person. ``phones``: national digits; ``known``: whether the simulated partners know the person."""

    name: str
    cpf: str
    sex: str
    phones: list[str]
    emails: list[str]
    birth_date: str
    mother: str
    income: str
    job: str
    city: tuple[str, str, str]
    known: bool = True
    listed_phones: list[str] = field(default_factory=list)

    @property
    def phone(self) -> str:
        """The first phone, national digits."""
        return self.phones[0]

    @property
    def email(self) -> str:
        """The first e-mail."""
        return self.emails[0]

    def candidate(self) -> dict[str, str]:
        """The candidate in Diretrix's answer for a phone or an e-mail."""
        return {"nome": self.name.upper(), "cpf": self.cpf}

    def work(self) -> dict[str, Any]:
        """The Work API's answer for the CPF."""
        city, state, postal_code = self.city
        return {
            "DadosBasicos": {
                "nome": self.name.upper(),
                "cpf": self.cpf,
                "dataNascimento": self.birth_date,
                "sexo": {"F": "F - FEMININO", "M": "M - MASCULINO"}[self.sex],
                "nomeMae": self.mother,
                "obito": None,
            },
            "DadosEconomicos": {
                "renda": self.income,
                "poderAquisitivo": {"FAIXA": "MEDIO"},
                "score": {"scoreCSB": "600"},
            },
            "profissao": self.job,
            "empregos": [],
            "enderecos": [
                {
                    "tipoLogradouro": "RUA",
                    "logradouro": "DAS FLORES",
                    "logradouroNumero": "100",
                    "complemento": "",
                    "bairro": "CENTRO",
                    "cidade": city.upper(),
                    "uf": state,
                    "cep": postal_code,
                }
            ],
            "telefones": [
                {"telefone": phone, "status": "ATIVO", "tipo": "CELULAR", "whatsapp": "SIM"}
                for phone in [*self.phones, *self.listed_phones]
            ],
            "emails": [{"email": email, "prioridade": "1", "blacklist": None} for email in self.emails],
        }


def population(count: int, seed: int) -> list[Someone]:
    """``count`` people. No two of them share a name, a CPF, a phone or an e-mail."""
    # Many more possible names than people, so that an unused one is found soon.
    middles = next(n for n in itertools.count(1) if 3 * count <= 2 * len(_FIRST["F"]) * len(_MIDDLE) ** n * len(_LAST))
    chance = random.Random(seed)
    people: list[Someone] = []
    taken: set[str] = set()
    while len(people) < count:
        someone = _someone(chance, len(people), middles)
        unique = {someone.name, someone.cpf, someone.phone}
        if not unique & taken:
            taken |= unique
            people.append(someone)
    return people


def _someone(chance: random.Random, number: int, middles: int) -> Someone:
    sex = chance.choice("FM")
    first, middle, last = chance.choice(_FIRST[sex]), _middle(chance, middles), chance.choice(_LAST)
    area = chance.choice(_AREAS)
    # The last four digits count up, so that phones differ and none looks like a placeholder.
    phone = f"{area}9{chance.randint(60, 99)}{chance.randint(10, 99)}{number % 10000:04d}"
    return Someone(
        name=f"{first} {middle} {last}",
        cpf=_cpf(chance),
        sex=sex,
        phones=[phone],
        emails=[
            f"{first}.{last}.{number}@example.com.br".lower().replace("ã", "a").replace("é", "e").replace("ú", "u")
        ],
        birth_date=f"{chance.randint(1, 28):02d}/{chance.randint(1, 12):02d}/{chance.randint(1950, 2000)}",
        mother=f"MARIA {middle} {last}".upper(),
        income=f"{chance.randint(1500, 25000)},{chance.randint(0, 99):02d}",
        job=chance.choice(_JOBS),
        city=chance.choice(_CITIES),
    )


def _middle(chance: random.Random, count: int) -> str:
    return " ".join(chance.choice(_MIDDLE) for _ in range(count))


def _cpf(chance: random.Random) -> str:
    digits = [int(digit) for digit in f"{chance.randint(1, 999_999_999):09d}"]
    for _ in range(2):
        rest = sum(weight * digit for weight, digit in zip(range(len(digits) + 1, 1, -1), digits, strict=True)) % 11
        digits.append(0 if rest < 2 else 11 - rest)  # noqa: PLR2004 - the official rule
    return "".join(map(str, digits))


def typed(phone: str, chance: random.Random) -> str:
    """A phone in one of the spellings that people use. ``phone``: national digits."""
    area, rest = phone[:2], phone[2:]
    return chance.choice(
        [
            phone,
            f"({area}) {rest[:-4]}-{rest[-4:]}",
            f"+55 {area} {rest[:-4]}-{rest[-4:]}",
            f"55{phone}",
            f"0{phone}",
            f"{area} {rest}",
            f"+55{phone}",
        ]
    )
