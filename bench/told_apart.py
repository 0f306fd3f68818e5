"""Whether a wrong answer could have been avoided, by what the lead's writer meant and not by the code under test.

A wrong person who is sent without a warning is **distinguishable** in two cases:

* *contradicted*: the text has a word that the wrong person does not have: another first given name, another surname,
  another generation suffix or one that they lack. A misspelt word stands for the intended one, unless it is as near to
  a word of the wrong person's; a nickname stands for every name that it is short for; an initial and a cut surname
  stand for every name that begins so.
* *tie*: the rule knew the true person by name too, the text contradicts neither of the two, and it is not exactly the
  wrong one's name alone. To choose one of two people whom the text fits is a guess.

Every other case is **indistinguishable**. If the rule did not know the true person, the wrong one has all words of the
text: *homonym*; *suffix* (the names differ by a suffix that was left out); *middle* (the text has more middle names,
which is no contradiction, because directories leave them out); *unknown* (any other reason). If the rule knew the true
person, the text is exactly the wrong one's name and not the true one's (*suffix, both known*; *exact*), or it
contradicts the names by which the rule knew the true one (*closer*), or more of the lead's phone and e-mail are the
wrong one's (*aliases*). People's names are those that the rule saw: a directory may have a name from before a marriage,
a shortened one, or none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rapidfuzz.distance import OSA

from bench.census import NICKNAMES
from bench.families import Person
from bench.typed_names import CUT, FULL, INITIAL, NICKNAME, TYPO, Typed, Word, canonical

DISTINGUISHABLE = ("contradicted", "tie")
INDISTINGUISHABLE = ("homonym", "suffix", "suffix, both known", "exact", "closer", "aliases", "middle", "unknown")
_MAY_BE = {canonical(nick): {canonical(name) for name in names} for nick, names in NICKNAMES.items()}


_SOUNDS = str.maketrans({"H": "", "Y": "I", "Z": "S", "W": "V", "K": "C"})
_DOUBLED = re.compile(r"(.)\1")


@dataclass(frozen=True, slots=True)
class Seen:
    """A person as a rule knew them: by which names, and under how many of the lead's aliases."""

    person: Person
    names: tuple[Person, ...]
    aliases: int


@dataclass(frozen=True, slots=True)
class _Name:
    first: str
    words: tuple[str, ...]  # all behind the first
    suffix: str


def why_wrong(typed: Typed, true: Seen, wrong: Seen) -> str:
    """The case of a wrong answer, see the list above. ``true`` has no names if the rule did not know that person."""
    is_known = bool(true.names)
    if contradicted(typed, wrong):
        is_rival = is_known and not contradicted(typed, true)
        return "middle" if not is_rival and _has_only_middle_words_more(typed, wrong) else "contradicted"
    if not is_known:
        if true.person.name == wrong.person.name:
            return "homonym"
        return "suffix" if _same_but_suffix(true.person, wrong.person) else "unknown"
    if contradicted(typed, true):
        return "closer"
    if is_exactly(typed, wrong) and not is_exactly(typed, true):
        return "suffix, both known" if _same_but_suffix(true.person, wrong.person) else "exact"
    return "aliases" if wrong.aliases > true.aliases else "tie"


def contradicted(typed: Typed, seen: Seen) -> bool:
    """Whether the text has a word that none of the person's names has."""
    return all(_contradicts(typed, name) for name in _names(seen))


def is_exactly(typed: Typed, seen: Seen) -> bool:
    """Whether the intended words are one of the person's names, word for word, suffix included."""
    if typed.first is None:
        return False
    meant = _Name(typed.first.meant, tuple(sorted(one.meant for one in typed.others)), canonical(typed.suffix))
    whole = all(one.form == FULL for one in (typed.first, *typed.others))
    return whole and any(meant == _Name(name.first, tuple(sorted(name.words)), name.suffix) for name in _names(seen))


def _names(seen: Seen) -> list[_Name]:
    return [
        _Name(
            canonical(one.given[0]),
            tuple(canonical(word) for word in (*one.given[1:], *one.surnames)),
            canonical(one.suffix),
        )
        for one in seen.names
    ]


def _contradicts(typed: Typed, name: _Name) -> bool:
    if typed.suffix and canonical(typed.suffix) != name.suffix:
        return True
    if typed.first is not None and not _may_be_given(typed.first, name):
        return True
    return any(not any(_may_be(word, other) for other in name.words) for word in typed.others)


def _has_only_middle_words_more(typed: Typed, seen: Seen) -> bool:
    """Whether each of the person's names is the typed one without some of its middle words."""
    if typed.first is None or not typed.others:
        return False
    words = {one.meant for one in typed.others}
    return all(
        name.first == typed.first.meant
        and set(name.words) < words
        and typed.others[-1].meant in name.words
        and name.suffix == canonical(typed.suffix)
        for name in _names(seen)
    )


def _may_be_given(word: Word, name: _Name) -> bool:
    if word.form == NICKNAME:
        names = {word.shown, *_MAY_BE.get(word.shown, ())}
        return not names.isdisjoint((name.first, *name.words))
    if word.form == INITIAL:
        return _may_begin(word, name.first)
    # Nothing that is misspelt turns one given name into another.
    return _sound(name.first) in {_sound(word.meant), _sound(word.shown)}


def _may_be(word: Word, other: str) -> bool:
    if word.form in {INITIAL, CUT}:
        return _may_begin(word, other)
    if word.form == TYPO:
        return OSA.distance(word.shown, other) <= OSA.distance(word.shown, word.meant)
    return _sound(other) == _sound(word.meant)


def _may_begin(word: Word, other: str) -> bool:
    """Whether a word is an initial, or cut off; "E" is the particle as well."""
    return word.shown == "E" or _sound(other).startswith(_sound(word.shown))


def _sound(word: str) -> str:
    """One spelling for names that differ in such letters only: Mariah and Maria, Thais and Tais."""
    return _DOUBLED.sub(r"\1", word.replace("PH", "F").translate(_SOUNDS))


def _same_but_suffix(one: Person, other: Person) -> bool:
    return one.suffix != other.suffix and (one.given, one.surnames) == (other.given, other.surnames)
