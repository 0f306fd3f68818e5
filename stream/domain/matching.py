"""How well a lead's name fits a known one: the grades of docs/matching.md.

Rule: nothing here turns one given name into another, and no suffix of a generation that the lead gave is passed over.
A known name comes from a source and begins with the given name; a lead's name is typed, in any order.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from functools import lru_cache
from typing import NamedTuple

from rapidfuzz.distance import OSA

from stream.domain.name_words import GENERATIONS, GIVEN_NAMES, NICKNAMES, SURNAMES
from stream.domain.names import CACHED_NAMES, MAX_NAME_CHARS, is_couple, sound, words_of

MIN_CUT = 3  # letters left of a name cut off where a form's field ended
# A typing error is at most so many edits in a word of at least so many letters, the most first.
MAX_EDITS = ((9, 2), (5, 1))

_SURNAME_SOUNDS = frozenset(map(sound, SURNAMES))
_GIVEN_SOUNDS = frozenset(map(sound, GIVEN_NAMES))


class Grade(IntEnum):
    """How much a comparison says, the surer the higher."""

    CONTRADICTS = 0
    NONE = 1
    WEAK = 2
    COMPATIBLE = 3
    EXACT = 4


class Reason(StrEnum):
    """What was found when two names were compared."""

    SAME_WORDS = "same_words"
    FEWER_WORDS = "fewer_words"  # one name has words that the other leaves out
    FIRST_NAME_ONLY = "first_name_only"
    INITIAL = "initial"
    SURNAME_ONLY = "surname_only"
    NICKNAME = "nickname"
    OTHER_SURNAME = "other_surname"  # each has a word that the other lacks
    COUPLE = "couple"
    NO_LEAD_NAME = "no_lead_name"
    NO_KNOWN_NAME = "no_known_name"
    GENERATION = "generation"  # the lead gave a suffix that the other has not
    OTHER_NAME = "other_name"


class Comparison(NamedTuple):
    """A grade and why."""

    grade: Grade
    reason: Reason


_EXACT = Comparison(Grade.EXACT, Reason.SAME_WORDS)
_COMPATIBLE = Comparison(Grade.COMPATIBLE, Reason.FEWER_WORDS)
_OTHER_NAME = Comparison(Grade.CONTRADICTS, Reason.OTHER_NAME)

Words = tuple[str, ...]


@lru_cache(maxsize=CACHED_NAMES)
def compare(lead_name: str, known_name: str) -> Comparison:
    """Compare a lead's name with a known one; either may be normalised or as typed."""
    known = words_of(known_name)
    lead = words_of(lead_name)
    if not lead:
        return Comparison(Grade.NONE, Reason.NO_LEAD_NAME)
    if not known:
        return Comparison(Grade.NONE, Reason.NO_KNOWN_NAME)
    best = max((_compare(reading, known) for reading in _readings(lead_name, lead, known)), key=lambda one: one.grade)
    if best.grade > Grade.WEAK and is_couple(lead_name):
        return Comparison(Grade.WEAK, Reason.COUPLE)
    return best


def _readings(text: str, lead: Words, known: Words) -> list[Words]:
    """The ways in which a typed name can be read: as it stands, "Surname, Name", and surnames first without a comma."""
    readings = [lead]
    surname, comma, given = text[:MAX_NAME_CHARS].partition(",")
    if comma and words_of(given) and words_of(surname):
        readings.append(words_of(given) + words_of(surname))
    first = sound(known[0])
    at = next((index for index, word in enumerate(lead) if index and sound(word) == first), 0)
    if at and _are_last_surnames(lead[:at], known):
        readings.append(lead[at:] + lead[:at])
    return readings


def _are_last_surnames(words: Words, known: Words) -> bool:
    """Whether words before a given name are the known name's surnames, the last one among them.

    The second word of three is left out: "José Maria Silva" is not "Maria José Silva".
    """
    known, _ = _split(known)
    words = tuple(word for word in words if word not in GENERATIONS)
    surnames = [sound(word) for word in (known[2:] if len(known) > 2 else known[1:])]  # noqa: PLR2004
    heard = [sound(word) for word in words]
    return bool(surnames) and surnames[-1] in heard and all(word in surnames for word in heard)


def _compare(lead: Words, known: Words) -> Comparison:
    if lead == known or "".join(lead) == "".join(known):  # "Anapaula", "D Avila"
        return _EXACT if len(known) > 1 else Comparison(Grade.WEAK, Reason.FIRST_NAME_ONLY)
    known_words, known_generation = _split(known)
    lead_words, generation = _split(lead)
    if generation and generation != known_generation and lead[-1] in known:
        lead_words, generation = lead, ""  # "Maria Neto" of MARIA NETO SILVA
    if not generation and len(lead_words) == 1 and GENERATIONS.get(lead_words[0], "") == known_generation != "":
        return Comparison(Grade.WEAK, Reason.NICKNAME)  # "Júnior" alone
    if generation and generation != known_generation:
        return Comparison(Grade.CONTRADICTS, Reason.GENERATION)
    given = _compare_given(lead_words, known_words, known_generation)
    if given is None:
        return _compare_rest(lead_words, known_words, same_generation=generation == known_generation, suffix=generation)
    return given


def _split(words: Words) -> tuple[Words, str]:
    """A name without its generation, and that; one word alone is a name."""
    generation = GENERATIONS.get(words[-1], "") if len(words) > 1 else ""
    return (words[:-1], generation) if generation else (words, "")


def _compare_given(lead: Words, known: Words, known_generation: str) -> Comparison | None:
    """How the given names compare; None where they are the same."""
    given, theirs = lead[0], known[0]
    if sound(given) == sound(theirs):
        return None
    rest = [sound(word) for word in known[1:]]
    if len(lead) == 1 and len(given) > 1 and sound(given) in rest:
        is_second_given = sound(given) == rest[0] and len(known) > 2  # noqa: PLR2004
        reason = Reason.FIRST_NAME_ONLY if is_second_given and _is_given(given) else Reason.SURNAME_ONLY
        return Comparison(Grade.WEAK, reason)
    surnames_fit = all(sound(word) in rest or len(word) == 1 for word in lead[1:])
    if (len(given) == 1 or len(theirs) == 1) and given[0] == theirs[0] and len(lead) > 1 and surnames_fit:
        return Comparison(Grade.WEAK, Reason.INITIAL)
    is_nickname = theirs in NICKNAMES.get(given, ()) or GENERATIONS.get(given, "") == known_generation != ""
    return Comparison(Grade.WEAK, Reason.NICKNAME) if is_nickname and surnames_fit else _OTHER_NAME


def _compare_rest(lead: Words, known: Words, *, same_generation: bool, suffix: str) -> Comparison:
    """Compare what follows a given name that is the same."""
    pairing = _pair(lead[1:], known[1:])
    if not pairing.lead_left and not pairing.known_left and not pairing.soft and same_generation:
        return _EXACT if len(known) > 1 else Comparison(Grade.WEAK, Reason.FIRST_NAME_ONLY)
    if len(lead) == 1 and not suffix:
        return Comparison(Grade.WEAK, Reason.FIRST_NAME_ONLY)
    if pairing.lead_left and pairing.known_left:
        mine, theirs = pairing.lead_left[0], pairing.known_left[0]
        are_seconds = lead[1] == mine and known[1] == theirs and _is_given(mine) and _is_given(theirs)
        # Sisters and brothers: "Ana Paula", "Ana Cláudia". But "Rosa" and "Paula" are surnames as well.
        is_sibling = are_seconds and (_is_given_only(mine) or _is_given_only(theirs))
        return _OTHER_NAME if is_sibling else Comparison(Grade.WEAK, Reason.OTHER_SURNAME)
    if not pairing.common and not suffix:
        reason = Reason.INITIAL if pairing.soft else Reason.FIRST_NAME_ONLY
        return Comparison(Grade.WEAK, reason)
    is_compound = len(lead) == 2 and len(known) > 2 and sound(lead[1]) == sound(known[1])  # noqa: PLR2004
    if is_compound and _is_given(lead[1]) and not suffix:  # "Ana Paula" alone
        return Comparison(Grade.WEAK, Reason.FIRST_NAME_ONLY)
    return _COMPATIBLE


class _Pairing(NamedTuple):
    common: int  # words that both have
    soft: int  # pairs that are not equal: initials, words cut off, typing errors
    lead_left: Words
    known_left: Words


def _pair(lead: Words, known: Words) -> _Pairing:
    """Pair the words after the given name: equal ones first, so that an initial takes no word that another needs."""
    left, others = list(lead), list(known)
    last = {*lead[-1:], *known[-1:]}
    common = _take(left, others, lambda word, other: sound(word) == sound(other))
    nearly = _take(left, others, _is_mistyped) + _take(left, others, lambda word, other: _is_cut(word, other, last))
    initials = _take(left, others, _is_initial)
    return _Pairing(common + nearly, nearly + initials, tuple(left), tuple(others))


def _take(words: list[str], others: list[str], fits: object) -> int:
    count = 0
    for word in list(words):
        partner = next((other for other in others if fits(word, other)), None)  # type: ignore[operator]
        if partner is not None:
            words.remove(word)
            others.remove(partner)
            count += 1
    return count


def _is_initial(word: str, other: str) -> bool:
    return 1 in {len(word), len(other)} and word[0] == other[0]


def _is_cut(word: str, other: str, last: set[str]) -> bool:
    """Whether one is the other cut off at the end of a name."""
    brief, full = sorted((word, other), key=len)
    return brief in last and len(brief) >= MIN_CUT and full.startswith(brief) and sound(brief) not in _SURNAME_SOUNDS


def _is_mistyped(word: str, other: str) -> bool:
    """Whether one surname is the other with a typing error. A difference in the last letter is another name."""
    heard, other_heard = sound(word), sound(other)
    if {heard, other_heard} <= _SURNAME_SOUNDS or _is_given_only(word) or _is_given_only(other):
        return False
    edits = next((most for letters, most in MAX_EDITS if min(len(word), len(other)) >= letters), 0)
    same_ends = word[0] == other[0] and (word[-1] == other[-1] or sorted(word) == sorted(other))
    return same_ends and OSA.distance(word, other, score_cutoff=edits) <= edits


def _is_given(word: str) -> bool:
    return sound(word) in _GIVEN_SOUNDS


def _is_given_only(word: str) -> bool:
    heard = sound(word)
    return heard in _GIVEN_SOUNDS and heard not in _SURNAME_SOUNDS
