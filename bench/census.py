"""Brazilian names with their real frequencies: the names of most adults, and Faker's lists for the others.

Shares of given names are those of the census of 2010 (per cent of each sex),
        shares of surnames those of the census of
2022 (per cent of all people), rounded. Faker's pt_BR lists give every name the same weight and its given names are
those of today's babies; alone they would make homonyms and families that share names far too rare.
"""

from __future__ import annotations

import random
from itertools import accumulate

from faker.providers.person.pt_BR import Provider

WOMEN = {
    "Maria": 12.0, "Ana": 3.2, "Francisca": 0.75, "Antônia": 0.6, "Adriana": 0.58, "Juliana": 0.58, "Márcia": 0.57,
    "Fernanda": 0.55, "Patrícia": 0.55, "Aline": 0.52, "Sandra": 0.5, "Camila": 0.48, "Amanda": 0.48, "Bruna": 0.47,
    "Jéssica": 0.47, "Letícia": 0.45, "Júlia": 0.44, "Luciana": 0.44, "Vanessa": 0.43, "Mariana": 0.39,
    "Gabriela": 0.39, "Vera": 0.37, "Vitória": 0.37, "Larissa": 0.36, "Cláudia": 0.36, "Beatriz": 0.35, "Luana": 0.34,
    "Rita": 0.34, "Sônia": 0.33, "Renata": 0.33, "Eliane": 0.32, "Josefa": 0.32, "Simone": 0.31, "Natália": 0.3,
    "Cristiane": 0.3, "Carla": 0.28, "Débora": 0.28, "Rosângela": 0.27, "Jaqueline": 0.26, "Rosa": 0.26,
    "Daniela": 0.26, "Aparecida": 0.25, "Marlene": 0.25, "Terezinha": 0.24, "Raimunda": 0.24, "Andréia": 0.24,
    "Fabiana": 0.23, "Lúcia": 0.23, "Raquel": 0.23, "Ângela": 0.22, "Rafaela": 0.22, "Joana": 0.22, "Luzia": 0.22,
    "Elaine": 0.21, "Daniele": 0.21, "Regina": 0.21, "Daiane": 0.2, "Alessandra": 0.2, "Isabela": 0.2, "Paula": 0.16,
}  # fmt: skip
MEN = {
    "José": 6.2, "João": 3.2, "Antônio": 2.8, "Francisco": 1.9, "Carlos": 1.6, "Paulo": 1.5, "Pedro": 1.3,
    "Lucas": 1.2, "Luiz": 1.2, "Marcos": 1.18, "Luís": 1.0, "Gabriel": 1.0, "Rafael": 0.88, "Daniel": 0.76,
    "Marcelo": 0.74, "Bruno": 0.71, "Eduardo": 0.67, "Felipe": 0.66, "Raimundo": 0.65, "Rodrigo": 0.64,
    "Manoel": 0.59, "Mateus": 0.58, "André": 0.58, "Fernando": 0.59, "Fábio": 0.54, "Leonardo": 0.52, "Gustavo": 0.51,
    "Guilherme": 0.5, "Leandro": 0.5, "Tiago": 0.5, "Anderson": 0.46, "Ricardo": 0.46, "Márcio": 0.45, "Jorge": 0.44,
    "Sebastião": 0.43, "Alexandre": 0.43, "Roberto": 0.43, "Edson": 0.4, "Diego": 0.4, "Vítor": 0.39, "Sérgio": 0.39,
    "Cláudio": 0.37, "Matheus": 0.35, "Thiago": 0.35, "Geraldo": 0.34, "Adriano": 0.34, "Luciano": 0.33,
        "Júlio": 0.32,
    "Renato": 0.31, "Alex": 0.31, "Vinícius": 0.3, "Rogério": 0.3, "Samuel": 0.3, "Ronaldo": 0.29, "Mário": 0.28,
    "Flávio": 0.27, "Igor": 0.26, "Douglas": 0.26, "Davi": 0.25, "Manuel": 0.25, "Wagner": 0.2, "Mauro": 0.2,
}  # fmt: skip
# Of people with this given name: the share who have a second one, and which (a particle may stand between).
SECOND = {
    "Maria": (0.55, ("Aparecida", "José", "de Fátima", "das Graças", "de Lourdes", "Eduarda", "Clara", "Luiza",
        "Helena",
                     "Fernanda", "Cristina", "do Carmo", "Vitória", "Júlia", "Cecília", "Lúcia", "Alice",
        "da Conceição")),
    "Ana": (0.7, ("Paula", "Maria", "Carolina", "Beatriz", "Lúcia", "Cristina", "Clara", "Luiza", "Cláudia", "Júlia",
        "Rita")),
    "José": (0.6, ("Carlos", "Maria", "Antônio", "Roberto", "Luiz", "Augusto", "Ricardo", "Aparecido", "Eduardo",
        "Paulo")),
    "João": (0.5, ("Pedro", "Paulo", "Batista", "Carlos", "Vítor", "Gabriel", "Lucas", "Victor", "Antônio",
        "Henrique")),
    "Antônio": (0.35, ("Carlos", "José", "Marcos", "Luiz", "Augusto")),
    "Carlos": (0.55, ("Eduardo", "Alberto", "Henrique", "Roberto", "Augusto", "Antônio", "César")),
    "Paulo": (0.5, ("Henrique", "Roberto", "César", "Sérgio", "Ricardo", "Eduardo")),
    "Luiz": (0.6, ("Carlos", "Fernando", "Henrique", "Gustavo", "Antônio", "Felipe", "Eduardo")),
    "Luís": (0.6, ("Carlos", "Fernando", "Henrique", "Gustavo", "Antônio", "Felipe")),
    "Pedro": (0.35, ("Henrique", "Lucas", "Paulo", "Augusto")),
    "Marcos": (0.35, ("Vinícius", "Antônio", "Paulo", "Aurélio")),
    "Francisco": (0.35, ("de Assis", "Carlos", "José", "das Chagas")),
    "Vera": (0.6, ("Lúcia", "Maria")), "Rita": (0.6, ("de Cássia", "Maria")), "Sandra": (0.4, ("Regina", "Maria",
        "Mara")),
    "Rosa": (0.5, ("Maria", "Helena")), "Regina": (0.3, ("Célia", "Maria")), "Márcia": (0.25, ("Regina", "Cristina",
        "Maria")),
    "Sônia": (0.35, ("Maria", "Regina")), "Francisca": (0.2, ("Maria", "das Chagas")), "Antônia": (0.2, ("Maria",
        "Célia")),
}  # fmt: skip
SURNAMES = {
    "Silva": 16.8, "Santos": 10.5, "Oliveira": 5.8, "Souza": 4.6, "Pereira": 3.4, "Ferreira": 3.1, "Lima": 3.0,
    "Alves": 2.9, "Rodrigues": 2.7, "Costa": 2.4, "Sousa": 2.2, "Gomes": 1.9, "Ribeiro": 1.8, "Martins": 1.6,
    "Carvalho": 1.6, "Almeida": 1.6, "Soares": 1.4, "Nascimento": 1.4, "Araújo": 1.3, "Barbosa": 1.2, "Lopes": 1.2,
    "Fernandes": 1.1, "Vieira": 1.1, "Rocha": 1.1, "Dias": 1.0, "Moreira": 0.9, "Andrade": 0.9, "Nunes": 0.9,
    "Marques": 0.8, "Barros": 0.8, "Mendes": 0.8, "Freitas": 0.8, "Cardoso": 0.8, "Ramos": 0.8, "Jesus": 0.8,
    "Teixeira": 0.7, "Gonçalves": 0.7, "Cruz": 0.7, "Reis": 0.7, "Melo": 0.7, "Pinto": 0.6, "Castro": 0.6,
        "Moura": 0.6,
    "Cavalcante": 0.5, "Batista": 0.5, "Correia": 0.5, "Miranda": 0.4, "Machado": 0.4, "Monteiro": 0.4, "Campos": 0.4,
    "Moraes": 0.3, "Morais": 0.2, "Bezerra": 0.3, "Cunha": 0.3, "Farias": 0.3, "Queiroz": 0.2, "Conceição": 0.5,
    "Costantino": 0.02, "Silvestre": 0.05, "Martinez": 0.05, "Schmidt": 0.05, "Müller": 0.04, "Bianchi": 0.04,
    "Yamamoto": 0.03, "Tanaka": 0.04, "Kowalski": 0.02,
}  # fmt: skip
# The particle that usually stands before a surname, and the share of its bearers who have it.
PARTICLES = {
    "Silva": ("da", 0.55), "Santos": ("dos", 0.7), "Souza": ("de", 0.4), "Sousa": ("de", 0.4), "Oliveira": ("de",
        0.45),
    "Costa": ("da", 0.3), "Lima": ("de", 0.25), "Nascimento": ("do", 0.7), "Jesus": ("de", 0.85), "Almeida": ("de",
        0.4),
    "Araújo": ("de", 0.35), "Barros": ("de", 0.35), "Carvalho": ("de", 0.3), "Rocha": ("da", 0.3), "Cruz": ("da",
        0.5),
    "Reis": ("dos", 0.6), "Melo": ("de", 0.4), "Castro": ("de", 0.3), "Freitas": ("de", 0.3), "Cunha": ("da", 0.5),
    "Conceição": ("da", 0.8), "Moraes": ("de", 0.3), "Campos": ("de", 0.2), "Andrade": ("de", 0.3),
}  # fmt: skip
# Nickname -> the given names that it may stand for.
NICKNAMES = {
    "Zé": ("José",), "Zeca": ("José",), "Duda": ("Eduarda", "Eduardo"), "Beto": ("Roberto", "Alberto"),
    "Chico": ("Francisco",), "Cida": ("Aparecida",), "Bia": ("Beatriz",), "Rafa": ("Rafael", "Rafaela"),
    "Gabi": ("Gabriela",), "Dani": ("Daniela", "Daniel", "Daniele"), "Lu": ("Luciana", "Luiza", "Lúcia"),
    "Nando": ("Fernando",), "Edu": ("Eduardo",), "Leo": ("Leonardo", "Leandro"), "Guga": ("Gustavo",),
    "Gui": ("Guilherme",), "Toninho": ("Antônio",), "Tonho": ("Antônio",), "Xande": ("Alexandre",),
        "Paty": ("Patrícia",),
    "Nanda": ("Fernanda",), "Ju": ("Juliana", "Júlia"), "Mari": ("Mariana", "Maria"), "Lala": ("Larissa",),
    "Tião": ("Sebastião",), "Carlinhos": ("Carlos",), "Paulinho": ("Paulo",), "Marquinhos": ("Marcos",),
}  # fmt: skip
# Two spellings of one name, either of which may be typed for the other.
SPELLINGS = (
    ("Luiz", "Luís"), ("Souza", "Sousa"), ("Thiago", "Tiago"), ("Matheus", "Mateus"), ("Manoel", "Manuel"),
    ("Victor", "Vítor"), ("Wagner", "Vagner"), ("Felipe", "Filipe"), ("Rafaela", "Rafaella"), ("Isabela", "Isabella"),
    ("Moraes", "Morais"), ("Cavalcante", "Cavalcanti"), ("Daniele", "Danielle"), ("Luiza", "Luísa"), ("Melo",
        "Mello"),
    ("Correia", "Corrêa"), ("Teresinha", "Terezinha"), ("Sophia", "Sofia"), ("Raphael", "Rafael"), ("Queiroz",
        "Queirós"),
    ("Jéssica", "Jessyca"), ("Batista", "Baptista"), ("Gonçalves", "Gonsalves"), ("Letícia", "Leticya"), ("Andréia",
        "Andrea"),
)  # fmt: skip
OTHER_NAMES = 0.3  # share of people whose given name is taken from Faker's list, beside the census' head
OTHER_SURNAMES = 0.15  # the same of surnames


class Draw:
    """Draws one of a table's keys by its weight or, with probability ``other``, one of ``others``."""

    def __init__(self, weights: dict[str, float], others: tuple[str, ...], other: float) -> None:
        self._names = list(weights)
        self._upto = list(accumulate(weights.values()))
        self._others = others
        self._other = other

    def __call__(self, chance: random.Random) -> str:
        """One name."""
        if chance.random() < self._other:
            return chance.choice(self._others)
        return chance.choices(self._names, cum_weights=self._upto)[0]


# Compound names, and surnames with a particle of their own, are made here, at rates that are stated.
_single = tuple(name for name in Provider.last_names if " " not in name and name not in {"Aparecida", "Costela"})
GIVEN = {
    "F": Draw(WOMEN, tuple(name for name in Provider.first_names_female if " " not in name), OTHER_NAMES),
    "M": Draw(MEN, tuple(name for name in Provider.first_names_male if " " not in name), OTHER_NAMES),
}
SURNAME = Draw(SURNAMES, _single, OTHER_SURNAMES)
