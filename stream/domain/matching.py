"""How well a lead's name fits a known one: the grades of docs/matching.md.

Rule 1: no comparison turns one given name into another.
Rule 2: a generation suffix (Júnior, Filho, Neto) that the lead gave is never ignored.
A known name comes from a source and begins with the given name. A lead's name was typed, in any order.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum, StrEnum
from functools import lru_cache
from typing import NamedTuple

from rapidfuzz.distance import OSA

from stream.domain.name_words import FIRST_OF_TWO, GENERATIONS, GIVEN_NAMES, NICKNAMES, SURNAMES
from stream.domain.names import CACHED_NAMES, MAX_NAME_CHARS, is_couple, sound, words_of

MIN_CUT_LETTERS = 3  # of a name that was cut off because a form's field was too short
# (letters, edits): in a word of at least so many letters, so many edits still count as a typing error.
MAX_EDITS_BY_LETTERS = ((9, 2), (5, 1))

MIN_SUFFIX_LETTERS = 4  # of a suffix with a typing error
SENIOR = "SENIOR"
_SUFFIXES = ("JUNIOR", "FILHO", "SOBRINHO", "SEGUNDO", "TERCEIRO")
_SURNAME_SOUNDS = frozenset(map(sound, SURNAMES))
_GIVEN_SOUNDS = frozenset(map(sound, GIVEN_NAMES))


class Grade(IntEnum):
    """How well two names agree; a higher grade is surer."""

    CONTRADICTS = 0
    NONE = 1
    WEAK = 2
    COMPATIBLE = 3
    EXACT = 4


class Reason(StrEnum):
    """Why a comparison has its grade."""

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
    MORE_GIVEN = "more_given"  # the lead has a second given name that the other lacks
    GENERATION = "generation"  # the lead gave a suffix that the other lacks
    OTHER_NAME = "other_name"


class Comparison(NamedTuple):
    """A grade and why."""

    grade: Grade
    reason: Reason


_EXACT = Comparison(Grade.EXACT, Reason.SAME_WORDS)
_COMPATIBLE = Comparison(Grade.COMPATIBLE, Reason.FEWER_WORDS)
_FIRST_NAME_ONLY = Comparison(Grade.WEAK, Reason.FIRST_NAME_ONLY)
_OTHER_NAME = Comparison(Grade.CONTRADICTS, Reason.OTHER_NAME)

Words = tuple[str, ...]


class _Name(NamedTuple):
    """A name in parts: ``words`` without the generation suffix, their ``sounds``, the suffix, and all words."""

    words: Words
    sounds: Words
    generation: str
    whole: Words


@lru_cache(maxsize=CACHED_NAMES)
def compare(lead_name: str, known_name: str) -> Comparison:
    """Compare a lead's name with a known one; either may be normalised or as typed."""
    lead, known = _parse(lead_name), _parse(known_name)
    if not lead.words:
        return Comparison(Grade.NONE, Reason.NO_LEAD_NAME)
    if not known.words:
        return Comparison(Grade.NONE, Reason.NO_KNOWN_NAME)
    lead = _with_generation(lead, known)
    if lead.generation and lead.generation != known.generation:
        return Comparison(Grade.CONTRADICTS, Reason.GENERATION)
    best = _compare(lead, known)
    if best.grade < Grade.COMPATIBLE:
        readings = (_compare(one, known) for one in _other_readings(lead_name, lead, known))
        best = max((best, *readings), key=lambda one: one.grade)
    if best.grade >= Grade.WEAK and is_couple(lead_name):
        return Comparison(Grade.WEAK, Reason.COUPLE)
    return best


def have_common_surname(one: str, other: str) -> bool:
    """Whether two known names share a surname, as the names of a family mostly do."""
    return not _surnames_of(one).isdisjoint(_surnames_of(other))


def _surnames_of(name: str) -> set[str]:
    return {heard for heard in _parse(name).sounds[1:] if heard in _SURNAME_SOUNDS or heard not in _GIVEN_SOUNDS}


def _with_generation(lead: _Name, known: _Name) -> _Name:
    """A lead's name with its suffix set apart, wherever the suffix stands: "Souza, Carlos Filho", "Carlos Jr Souza".

    Inside a name, a word that the known name has too is a surname: "Maria Neto Silva". SENIOR is a person without a
    suffix.
    """
    at = 0
    for place in range(len(lead.whole) - 1, 0, -1):
        if _generation_of(lead.whole[place]):
            at = place
            break
    if not at and lead.words is lead.whole:
        return lead  # nearly always
    is_inner = at < len(lead.whole) - 1 and sound(lead.whole[at]) in known.sounds
    if not at or is_inner:
        return _name(lead.whole, "")
    generation = _generation_of(lead.whole[at])
    words = lead.whole[:at] + lead.whole[at + 1 :]
    return _name(words, "" if generation == SENIOR and not known.generation else generation)


@lru_cache(maxsize=CACHED_NAMES)
def _generation_of(word: str) -> str:
    """The suffix that a word stands for, also with a typing error; "" for any other word."""
    if word in GENERATIONS:
        return GENERATIONS[word]
    heard = sound(word)
    if heard in _GIVEN_SOUNDS or heard in _SURNAME_SOUNDS:
        return ""
    near = (one for one in _SUFFIXES if word[0] == one[0] and OSA.distance(heard, sound(one), score_cutoff=1) <= 1)
    suffix = next(near, "") if len(word) >= MIN_SUFFIX_LETTERS else ""
    return GENERATIONS.get(suffix, "")


@lru_cache(maxsize=CACHED_NAMES)
def _parse(name: str) -> _Name:
    whole = words_of(name)
    generation = GENERATIONS.get(whole[-1], "") if len(whole) > 1 else ""  # one word alone is a name
    words = whole[:-1] if generation else whole
    return _Name(words, tuple(map(sound, words)), "" if generation == SENIOR else generation, whole)


def _name(words: Words, generation: str) -> _Name:
    return _Name(words, tuple(map(sound, words)), generation, words)


def _other_readings(text: str, lead: _Name, known: _Name) -> list[_Name]:
    """Other readings of a typed name: "Surname, Name", and surnames first without a comma."""
    readings = []
    surname, comma, given = text[:MAX_NAME_CHARS].partition(",")
    if comma and words_of(given) and words_of(surname):
        turned = words_of(given) + words_of(surname)
        readings.append(_name(tuple(word for word in turned if word in lead.words), lead.generation))
    words = lead.words
    at = next((index for index, heard in enumerate(lead.sounds) if index and heard == known.sounds[0]), 0)
    at = 0 if _is_given(words[0]) else at  # "Rosa Maria Silva" is not "Maria Silva Rosa"
    if at and _are_last_surnames(words[:at], known):
        readings.append(_name(words[at:] + words[:at], lead.generation))
    return [one for one in readings if one.words]


def _are_last_surnames(words: Words, known: _Name) -> bool:
    """Whether the words before a given name are surnames of the known name, including its last one.

    The second word of three or more does not count as a surname: "José Maria Silva" is not "Maria José Silva".
    """
    surnames = known.sounds[2:] if len(known.sounds) > 2 else known.sounds[1:]  # noqa: PLR2004
    if len(known.words) == 2 and _is_given(known.words[1]):  # noqa: PLR2004 - "José Maria", "Maria José"
        return False
    heard = [sound(word) for word in words]
    return bool(surnames) and surnames[-1] in heard and all(word in surnames for word in heard)


def _compare(lead: _Name, known: _Name) -> Comparison:
    if lead.generation == known.generation and _is_written_alike(lead.words, known.words):
        return _EXACT if len(known.words) > 1 or known.generation else _FIRST_NAME_ONLY
    if lead.sounds[0] == known.sounds[0]:
        return _compare_rest(lead, known)
    return _compare_other_given(lead, known)


def _is_written_alike(one: Words, other: Words) -> bool:
    """Whether two names differ in blanks only: "Anapaula". An initial does not count: "Luan A. Silva" is not Luana."""
    if one == other or "".join(one) != "".join(other):
        return one == other
    # "D Avila" begins with a letter of its own; a letter elsewhere is an initial.
    return all(len(word) > 1 or (place and word == "D") for name in (one, other) for place, word in enumerate(name))


def _compare_other_given(lead: _Name, known: _Name) -> Comparison:
    """Compare names whose given names differ: nearly always different people."""
    given, theirs, rest = lead.words[0], known.words[0], known.sounds[1:]
    if len(lead.words) == 1 and len(given) > 1 and lead.sounds[0] in rest:
        is_second_given = lead.sounds[0] == rest[0] and len(known.words) > 2 and _is_given(given)  # noqa: PLR2004
        return _FIRST_NAME_ONLY if is_second_given else Comparison(Grade.WEAK, Reason.SURNAME_ONLY)
    surnames_fit = all(
        heard in rest or len(word) == 1 for word, heard in zip(lead.words[1:], lead.sounds[1:], strict=True)
    )
    if not surnames_fit:
        return _OTHER_NAME
    if 1 in {len(given), len(theirs)} and given[0] == theirs[0] and len(lead.words) > 1:
        return Comparison(Grade.WEAK, Reason.INITIAL)
    # "Zé", and "Júnior" for a person with that suffix.
    is_nickname = theirs in NICKNAMES.get(given, ()) or (_generation_of(given) == known.generation != "")
    return Comparison(Grade.WEAK, Reason.NICKNAME) if is_nickname else _OTHER_NAME


def _compare_rest(lead: _Name, known: _Name) -> Comparison:
    """Compare the words after the given name, which is the same."""
    pairing = _pair(lead, known)
    if not (pairing.lead_unpaired or pairing.known_unpaired or pairing.inexact) and lead.generation == known.generation:
        return _EXACT if len(known.words) > 1 else _FIRST_NAME_ONLY
    if pairing.lead_unpaired and pairing.known_unpaired:
        return _compare_differing(lead, known, pairing)
    doubt = _doubt_of_more_words(lead.words, pairing.lead_unpaired) if len(known.words) > 1 else None
    if doubt is not None:
        return Comparison(Grade.WEAK, doubt)
    if lead.generation:  # the same suffix counts as a word in common
        return _COMPATIBLE
    if not pairing.common:
        return Comparison(Grade.WEAK, Reason.INITIAL) if pairing.inexact else _FIRST_NAME_ONLY
    return _FIRST_NAME_ONLY if _is_first_name_alone(lead, known) else _COMPATIBLE


def _is_first_name_alone(lead: _Name, known: _Name) -> bool:
    """Whether a lead's two words are a compound first name: "Ana Paula", also compared with ANA LIMA DE PAULA."""
    if len(lead.words) != 2 or len(known.words) <= 2:  # noqa: PLR2004
        return False
    word, is_second = lead.words[1], lead.sounds[1] == known.sounds[1]
    if not _is_given(word):
        return is_second and not _is_surname_only(word)
    return _is_given_only(word) or lead.words[0] in FIRST_OF_TWO  # "Ana Rosa"; but "Luana Rosa" may be a surname


def _doubt_of_more_words(words: Words, more: Words) -> Reason | None:
    """Why the lead's additional words may mean another person; None if they stand in the middle of the name."""
    if len(words) > 2 and words[1] in more and not _is_surname_only(words[1]):  # noqa: PLR2004
        return Reason.MORE_GIVEN  # "Maria Eduarda Silva" is not her mother MARIA SILVA
    if words[-1] in more:  # a married daughter's surname; an initial may stand for a suffix ("Carlos Souza F.")
        return Reason.INITIAL if len(words[-1]) == 1 else Reason.OTHER_SURNAME
    return None


def _compare_differing(lead: _Name, known: _Name, pairing: _Pairing) -> Comparison:
    """Compare names that each have a word of their own: a married name, or a sibling ("Ana Paula", "Ana Cláudia")."""
    mine, theirs = pairing.lead_unpaired[0], pairing.known_unpaired[0]
    are_seconds = lead.words[1] == mine and known.words[1] == theirs and _is_given(mine) and _is_given(theirs)
    # "Rosa" and "Paula" are surnames as well.
    is_sibling = are_seconds and (_is_given_only(mine) or _is_given_only(theirs))
    return _OTHER_NAME if is_sibling else Comparison(Grade.WEAK, Reason.OTHER_SURNAME)


class _Pairing(NamedTuple):
    common: int  # words that both have
    inexact: int  # pairs that are not equal: initials, cut words, typing errors
    lead_unpaired: Words
    known_unpaired: Words


def _pair(lead: _Name, known: _Name) -> _Pairing:
    """Pair the words after the given name. Equal words come first, so that no initial takes another word's pair."""
    others = list(zip(known.sounds[1:], known.words[1:], strict=True))
    unpaired = []
    common = 0
    for heard, word in zip(lead.sounds[1:], lead.words[1:], strict=True):
        partner = next((other for other in others if other[0] == heard), None)
        if partner is None:
            unpaired.append(word)
        else:
            others.remove(partner)
            common += 1
    known_unpaired = [word for _, word in others]
    if not unpaired or not known_unpaired:
        return _Pairing(common, 0, tuple(unpaired), tuple(known_unpaired))
    last = {lead.words[-1], known.words[-1]}
    nearly = _remove_pairs(unpaired, known_unpaired, _is_mistyped)
    cut = _remove_pairs(unpaired, known_unpaired, lambda word, other: _is_cut(word, other, last, unique=True))
    vague = _remove_pairs(unpaired, known_unpaired, lambda word, other: _is_cut(word, other, last, unique=False))
    # A last initial may stand for a suffix, so it pairs with the last surname or with no word.
    end, their_end = lead.words[-1], known.words[-1]
    vague += _remove_pairs(
        unpaired, known_unpaired, lambda word, other: _is_initial(word, other) and (word != end or other == their_end)
    )
    return _Pairing(common + nearly + cut, nearly + cut + vague, tuple(unpaired), tuple(known_unpaired))


def _remove_pairs(words: list[str], others: list[str], fits: Callable[[str, str], bool]) -> int:
    """Remove the pairs that fit from both lists; returns their number."""
    count = 0
    for word in list(words):
        partner = next((other for other in others if fits(word, other)), None)
        if partner is not None:
            words.remove(word)
            others.remove(partner)
            count += 1
    return count


def _is_initial(word: str, other: str) -> bool:
    return 1 in {len(word), len(other)} and word[0] == other[0]


def _is_cut(word: str, other: str, last: set[str], *, unique: bool) -> bool:
    """Whether one word is the beginning of the other, a frequent surname that was cut off at the end of a name.

    ``unique``: no other frequent surname begins so.
    """
    brief, full = sorted((word, other), key=len)
    is_left_of = len(brief) >= MIN_CUT_LETTERS and full.startswith(brief) and sound(full) in _SURNAME_SOUNDS
    if not is_left_of or brief not in last or sound(brief) in _SURNAME_SOUNDS:
        return False
    return not unique or sum(surname.startswith(brief) for surname in SURNAMES) == 1


def _is_mistyped(word: str, other: str) -> bool:
    """Whether a word is a frequent surname with a typing error. A different last letter makes another name.

    Of two rare surnames neither is taken for mistyped: Hamada and Harada, Erivaldo and Edivaldo are different people.
    """
    heard, other_heard = sound(word), sound(other)
    if heard in _SURNAME_SOUNDS or other_heard not in _SURNAME_SOUNDS or _is_given(word) or _is_given_only(other):
        return False
    edits = next((max_edits for letters, max_edits in MAX_EDITS_BY_LETTERS if min(len(word), len(other)) >= letters), 0)
    same_ends = word[0] == other[0] and (word[-1] == other[-1] or sorted(word) == sorted(other))
    return same_ends and OSA.distance(word, other, score_cutoff=edits) <= edits


def _is_given(word: str) -> bool:
    return sound(word) in _GIVEN_SOUNDS


def _is_surname_only(word: str) -> bool:
    heard = sound(word)
    return heard in _SURNAME_SOUNDS and heard not in _GIVEN_SOUNDS


def _is_given_only(word: str) -> bool:
    heard = sound(word)
    return heard in _GIVEN_SOUNDS and heard not in _SURNAME_SOUNDS
