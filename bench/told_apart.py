"""Could a wrong answer have been avoided? Said by what the lead's writer meant, not by the code under test.

A wrong person who goes out without a warning is **distinguishable** when

* *contradicted*: the text has a word that the wrong person does not have: another first given name, a surname that is
  not among theirs, another generation suffix or one that they lack. A wrong spelling stands for what was meant by it,
  unless it is as near to a word of the wrong person's; a nickname for every name that it is short for; an initial and
  a cut surname for whatever begins so; or
* *tie*: the rule knew the true person by name too, the text contradicts neither, and it is not exactly the wrong
  one's name alone: to name one of two whom the text fits is a guess.

All else is **indistinguishable**. The true person was not known to the rule, and all words of the text are the wrong
one's too: *homonym*, *suffix* (the names differ by a suffix that was left out), *unknown* (anybody else), *middle* (the
text has middle names more than the wrong one's; directories leave them out, so that this is no contradiction). Or the
true person was known, and the text is exactly the wrong one's name and not the true one's: *suffix, both known*,
*exact*; it contradicts the names under which the rule knew the true one: *closer*; or more of the lead's phone and
e-mail are the wrong one's: *aliases*. What people are called is taken from the names that the rule saw: a directory
may have one from before a marriage, a shortened one, or none.
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
    """A person as a rule knew them: under which names, under how many of the lead's aliases."""

    person: Person
    names: tuple[Person, ...]
    aliases: int


@dataclass(frozen=True, slots=True)
class _Name:
    first: str
    words: tuple[str, ...]  # all behind the first
    suffix: str


def why_wrong(typed: Typed, true: Seen, wrong: Seen) -> str:
    """Which of the cases above it is. ``true`` has no names where the rule did not know the true person."""
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
    """Whether what was meant is one of the person's names, word for word, suffix included."""
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
    """Whether each of the person's names is what was typed without some of its middle words."""
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
    """An initial, or a word cut off; "E" is the particle as well."""
    return word.shown == "E" or _sound(other).startswith(_sound(word.shown))


def _sound(word: str) -> str:
    """Names that differ by such letters only are one name: Mariah and Maria, Thais and Tais."""
    return _DOUBLED.sub(r"\1", word.replace("PH", "F").translate(_SOUNDS))


def _same_but_suffix(one: Person, other: Person) -> bool:
    return one.suffix != other.suffix and (one.given, one.surnames) == (other.given, other.surnames)
