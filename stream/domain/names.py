"""Personal names in normal form, for comparison (``matching``) and for databases.

Accents, case, particles, titles and words that are no name are ignored. Spellings that sound alike are one word (Luiz,
Luis).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from stream.domain.name_words import GIVEN_NAMES, GREETINGS, NO_NAMES, PARTICLES, TITLES

CACHED_NAMES = 50_000  # names whose normal form is cached
MAX_NAME_CHARS = 200  # a longer text was not typed as a name
MAX_WORDS = 12  # of a name; further words are not compared

# "Carlos E. Souza": with a dot, E is an initial; without one it is the particle "e".
_DOTTED_E = re.compile(r"(?<!\w)[eE]\.")
_KEPT_E = "QEQ"
_APOSTROPHES = dict.fromkeys("'`\N{RIGHT SINGLE QUOTATION MARK}\N{ACUTE ACCENT}", "")
_OTHER_LETTERS = str.maketrans({"Ø": "O", "Æ": "AE", "Œ": "OE", "Ł": "L", "Đ": "D", **_APOSTROPHES})
_NO_LETTERS = re.compile(r"[^A-Z ]+")
# "João Silva 2º", "João Silva 3."
_NUMBERED = re.compile(r"(?<=\S)\s+([234])\s*(?:[oº°ª]|nd|rd|th)?\s*[.)]*\s*$", re.IGNORECASE)
_NUMERALS = {"2": " II", "3": " III", "4": " IV"}
# "João e Maria", "Ana Silva & Pedro", "João/Maria": the word after the sign may be another person's given name.
_SIGNS = frozenset("&/+")
_AND = re.compile(r"(?:\s[eE]\s|[&/+])\s*([^\W\d_]+)", re.UNICODE)
# Spellings of one sound: Thiago and Tiago, Sousa and Souza, Wagner and Vagner, Rafaella and Rafaela.
_SOUNDS = str.maketrans({"H": "", "Y": "I", "W": "V", "Z": "S", "K": "C"})
_MIN_LONG_WORD_LETTERS = 6  # in shorter words the first H and the last I distinguish Hanna from Ana, and Josi from José
_DOUBLED = re.compile(r"(.)\1+")
_SPELLINGS = {"DAVID": "DAVI", "FILIPE": "FELIPE", "GEOVANA": "GIOVANA", "GEOVANI": "GIOVANI", "GEOVANE": "GIOVANI"}
_SPELLINGS |= {"GEOVANNA": "GIOVANA", "MANOEL": "MANUEL", "EMANOEL": "EMANUEL", "JACQUELINE": "JAQUELINE"}
_SPELLINGS |= {"WELLINGTON": "WELINTON", "WELINGTON": "WELINTON", "VINICIOS": "VINICIUS", "GESSICA": "JESSICA"}
_SPELLINGS |= {
    "ISAAC": "ISAQUE",
    "BAPTISTA": "BATISTA",
    "ASSUMPCAO": "ASSUNCAO",
    "SEQUEIRA": "SIQUEIRA",
    "GOES": "GOIS",
}


@lru_cache(maxsize=CACHED_NAMES)
def normalise(name: str) -> str:
    """Capitals without accents, punctuation and particles: ``JOAO SILVA`` for "João da Silva"."""
    capitals = name[:MAX_NAME_CHARS].upper().translate(_OTHER_LETTERS)
    if not capitals.isascii():
        letters = unicodedata.normalize("NFKD", capitals).upper()
        capitals = "".join([one for one in letters if not unicodedata.combining(one)])
    words = _NO_LETTERS.sub(" ", capitals).split()
    return " ".join(word for word in words if word not in PARTICLES)[:MAX_NAME_CHARS].rstrip()


@lru_cache(maxsize=CACHED_NAMES)
def words_of(name: str) -> tuple[str, ...]:
    """The words of a name that identify a person, in the order given.

    Empty for an e-mail address, for initials alone, and for words typed in place of a name ("Cliente WhatsApp").
    """
    if "@" in name:
        return ()
    numbered = _NUMBERED.search(name)
    if numbered is not None:
        name = name[: numbered.start()] + _NUMERALS[numbered[1]]
    text = normalise(_DOTTED_E.sub(f" {_KEPT_E} ", name))
    words = ["E" if word == _KEPT_E else word for word in text.split() if word not in NO_NAMES][:MAX_WORDS]
    while words and (words[0] in TITLES or words[0] in GREETINGS):
        del words[0]
    return tuple(words) if any(len(word) > 1 for word in words) else ()


def is_couple(name: str) -> bool:
    """Whether a name names two people: "João e Maria Silva"."""
    if " e " not in name and " E " not in name and not _SIGNS.intersection(name):
        return False  # nearly always
    return any(normalise(other) in GIVEN_NAMES for other in _AND.findall(name[:MAX_NAME_CHARS]))


@lru_cache(maxsize=CACHED_NAMES)
def sound(word: str) -> str:
    """One spelling for all words that sound alike: Ruth and Rute are one word, Paulo and Paula are two."""
    word = _SPELLINGS.get(word, word).replace("PH", "F").replace("CT", "T").replace("CHR", "CR").replace("CH", "X")
    word = word.replace("NH", "NJ").replace("LH", "LJ")  # Marinho is not Marino
    # Zara is not Sara: the first letter of a word is heard.
    first = (
        word[:1]
        if word[:1] == "Z" or (word[:1] == "H" and len(word) < _MIN_LONG_WORD_LETTERS)
        else word[:1].translate(_SOUNDS)
    )
    word = _DOUBLED.sub(r"\1", first + word[1:].translate(_SOUNDS))
    if word.endswith("T"):
        return f"{word}E"
    return f"{word[:-1]}E" if word.endswith("I") and len(word) >= _MIN_LONG_WORD_LETTERS else word
