"""How people type their names: one kind of noise for each lead, and the word that was meant by each typed one.

The intended words are kept beside the text. They show later whether the text tells two people apart, without the code
under test.
"""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from bench import rates
from bench.census import NICKNAMES, SPELLINGS
from bench.families import Person

FULL, INITIAL, CUT, TYPO, NICKNAME = "full", "initial", "cut", "typo", "nickname"
PLACEHOLDERS = ("Cliente WhatsApp", "Lead", "Contato do site", "Cliente", "Sem nome", "Não informado", "WhatsApp")
_DECORATIONS = (
    " - corretora",
    " (esposa)",
    " 🌸",
    " - Vila Mariana",
    " (11) 98888-7766",
    " Imóveis",
    " - apto 32",
    "!!",
)
_TITLES = {"F": ("Dra. ", "Dona ", "Sra. ", "Profa. "), "M": ("Dr. ", "Sr. ", "Seu ", "Prof. ")}
_PARTICLES = frozenset({"DA", "DE", "DO", "DAS", "DOS", "E"})


@dataclass(frozen=True, slots=True)
class Word:
    """A word of the typed name: the intended word, the canonical form of the typed one, and its kind."""

    meant: str
    shown: str
    form: str = FULL


@dataclass(frozen=True, slots=True)
class Typed:
    """A typed name. ``first``: the given name, if one was typed; ``others``: all words after it."""

    text: str
    first: Word | None = None
    others: tuple[Word, ...] = ()
    suffix: str = ""
    suffix_left_out: bool = False
    has_surname: bool = False

    @property
    def says_nothing(self) -> bool:
        """Whether there is no word of a name in it."""
        return self.first is None and not self.others


@dataclass(frozen=True, slots=True)
class _Part:
    text: str
    word: Word


@lru_cache(maxsize=100_000)
def canonical(text: str) -> str:
    """The words that two spellings of one name share: capitals, no accents, particles or double spellings."""
    return " ".join(_SAME_SOUND.get(word, word) for word in _words(text))


def _words(text: str) -> list[str]:
    bare = _without_accents(text).upper()
    words = "".join(one if one.isalpha() else " " for one in bare).split()
    return [word for word in words if word not in _PARTICLES]


def _without_accents(text: str) -> str:
    return "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))


_SAME_SOUND = {_words(other)[0]: _words(one)[0] for one, other in SPELLINGS}
_OTHER_SPELLING = {one: other for pair in SPELLINGS for one, other in (pair, pair[::-1])}
_NICKNAME_OF = {
    given: [nick for nick, names in NICKNAMES.items() if given in names]
    for names in NICKNAMES.values()
    for given in names
}


def type_name(person: Person, kind: str, chance: random.Random) -> Typed | None:
    """``person``'s name typed with this kind of noise; None if this person's name does not allow it."""
    typed = _KINDS[kind](person, chance)
    if typed is None or kind in {"no_name", "placeholder"}:
        return typed
    return replace(typed, text=_surface(typed.text, kind, chance))


def _surface(text: str, kind: str, chance: random.Random) -> str:
    if kind == "plain":
        return chance.choice((str.upper, str.lower, _without_accents, _plain_lower))(text)
    if kind in {"whole", "mail_style"}:
        return text
    drawn = chance.random()
    changes: tuple[tuple[float, Callable[[str], str]], ...] = (
        (0.15, str.lower), (0.25, str.upper), (0.35, _without_accents), (0.4, _plain_lower),
    )  # fmt: skip
    return next((change(text) for upto, change in changes if drawn < upto), text)


def _plain_lower(text: str) -> str:
    return _without_accents(text).lower()


def _part(text: str, chance: random.Random) -> _Part:
    """A word of the name; its particle is sometimes left out."""
    if " " in text and chance.random() < 0.15:
        text = text.rsplit(maxsplit=1)[-1]
    return _Part(text, Word(canonical(text), canonical(text)))


def _compose(  # noqa: PLR0913 - one a part
    person: Person,
    given: Sequence[_Part],
    surnames: Sequence[_Part],
    chance: random.Random,
    *,
    to_the_end: bool = False,
    form: str = "{given} {surnames}",
) -> Typed:
    """Join parts. ``to_the_end``: the end of the name is typed, so a suffix may be."""
    text = form.format(
        given=" ".join(one.text for one in given), surnames=" ".join(one.text for one in surnames)
    ).strip()
    parts = [*given, *surnames]
    suffix = ""
    if to_the_end and person.suffix and chance.random() < rates.SUFFIX_TYPED:
        suffix = person.suffix
        short = suffix == "Junior" and chance.random() < rates.SUFFIX_SHORT
        text += " " + (chance.choice(("Jr", "Jr.")) if short else suffix)
    first = parts[0].word if given else None
    others = tuple(one.word for one in (parts[1:] if given else parts))
    return Typed(text, first, others, suffix, bool(person.suffix) and not suffix, has_surname=bool(surnames))


def _given(person: Person, chance: random.Random, share: float = 0.4) -> list[_Part]:
    """The first given name; at a ``share`` the whole of a compound one."""
    whole = len(person.given) > 1 and chance.random() < share
    return [_part(one, chance) for one in (person.given if whole else person.given[:1])]


def _all(names: Sequence[str], chance: random.Random) -> list[_Part]:
    return [_part(one, chance) for one in names]


def _whole(person: Person, chance: random.Random) -> Typed:
    exact = [_Part(one, Word(canonical(one), canonical(one))) for one in (*person.given, *person.surnames)]
    count = len(person.given)
    return _compose(person, exact[:count], exact[count:], chance, to_the_end=True)


def _no_middle(person: Person, chance: random.Random) -> Typed | None:
    middle = [*person.given[1:], *person.surnames[:-1]]
    if len(middle) < 2:
        return None
    kept = set(chance.sample(range(len(middle)), chance.randint(1, len(middle) - 1)))
    count = len(person.given) - 1
    given = [one for at, one in enumerate(middle[:count]) if at in kept]
    surnames = [one for at, one in enumerate(middle[count:], count) if at in kept]
    return _compose(
        person,
        _all([person.given[0], *given], chance),
        _all([*surnames, person.surnames[-1]], chance),
        chance,
        to_the_end=True,
    )


def _first_last(person: Person, chance: random.Random) -> Typed:
    return _compose(person, _given(person, chance), _all(person.surnames[-1:], chance), chance, to_the_end=True)


def _first_middle(person: Person, chance: random.Random) -> Typed | None:
    if len(person.surnames) < 2:
        return None
    return _compose(person, _given(person, chance), [_part(chance.choice(person.surnames[:-1]), chance)], chance)


def _first_name(person: Person, chance: random.Random) -> Typed:
    return _compose(person, _given(person, chance), [], chance)


def _initial(text: str, chance: random.Random) -> _Part:
    word = canonical(text.rsplit(maxsplit=1)[-1])
    return _Part(text.rsplit(maxsplit=1)[-1][0] + chance.choice((".", ".", "")), Word(word, word[0], INITIAL))


def _initials(person: Person, chance: random.Random) -> Typed | None:
    middle = [*person.given[1:], *person.surnames[:-1]]
    if chance.random() < rates.INITIAL_OF_GIVEN:
        given = [_initial(person.given[0], chance)]
        return _compose(person, given, _all(person.surnames[-1:], chance), chance, to_the_end=True)
    if not middle:
        return None
    given = [_part(person.given[0], chance)]
    surnames = [*(_initial(one, chance) for one in middle), _part(person.surnames[-1], chance)]
    return _compose(person, given, surnames, chance, to_the_end=True)


def _cut(person: Person, chance: random.Random) -> Typed | None:
    last = person.surnames[-1].split()[-1]
    if len(last) < 5:
        return None
    shown = last[: chance.randint(3, len(last) - 1)]
    before = [*_all(person.given, chance), *_all(person.surnames[:-1], chance)]
    cut = _Part(shown, Word(canonical(last), _bare(shown), CUT))
    return _compose(person, before, [cut], chance)


def _bare(text: str) -> str:
    """Capitals without accents, with the letters as typed."""
    return "".join(one for one in _without_accents(text).upper() if one.isalpha())


def _surname_first(person: Person, chance: random.Random) -> Typed:
    form = chance.choice(("{surnames}, {given}", "{surnames} {given}"))
    given = [_Part(one, Word(canonical(one), canonical(one))) for one in person.given]
    return _compose(person, given, [_part(person.surnames[-1].split()[-1], chance)], chance, form=form)


def _misspelt(text: str, chance: random.Random) -> _Part | None:
    """One or two letters of the last word are wrong, so that it sounds different."""
    *before, word = text.split()
    if len(word) < 4:
        return None
    wrong = word
    for _ in range(2 if chance.random() < rates.TWO_EDITS and len(word) > 5 else 1):
        wrong = _edited(wrong, chance)
    if canonical(wrong) == canonical(word) or not canonical(wrong):
        return None
    return _Part(" ".join((*before, wrong)), Word(canonical(word), _bare(wrong), TYPO))


def _edited(word: str, chance: random.Random) -> str:
    at = chance.randint(1, len(word) - 2)
    letter = chance.choice("aeiorsntmlcd")
    return chance.choice(
        (
            word[:at] + word[at + 1 :],
            word[:at] + letter + word[at:],
            word[:at] + letter + word[at + 1 :],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            word[:-1] + letter,
        )
    )


def _typo_surname(person: Person, chance: random.Random) -> Typed | None:
    whole = chance.random() < 0.5
    surnames = _all(person.surnames if whole else person.surnames[-1:], chance)
    at = chance.randrange(len(surnames))
    wrong = _misspelt(surnames[at].text, chance)
    if wrong is None:
        return None
    surnames[at] = wrong
    return _compose(person, _given(person, chance), surnames, chance, to_the_end=True)


def _typo_given(person: Person, chance: random.Random) -> Typed | None:
    given = _given(person, chance)
    wrong = _misspelt(given[0].text, chance)
    if wrong is None:
        return None
    return _compose(person, [wrong, *given[1:]], _all(person.surnames[-1:], chance), chance, to_the_end=True)


def _sound(person: Person, chance: random.Random) -> Typed | None:
    given, surnames = _given(person, chance, 1.0), _all(person.surnames, chance)
    both = [*given, *surnames]
    spelt = [at for at, one in enumerate(both) if one.text.split()[-1] in _OTHER_SPELLING]
    if not spelt:
        return None
    at = chance.choice(spelt)
    *before, word = both[at].text.split()
    both[at] = _Part(" ".join((*before, _OTHER_SPELLING[word])), both[at].word)
    return _compose(person, both[: len(given)], both[len(given) :], chance, to_the_end=True)


def _married(person: Person, chance: random.Random) -> Typed | None:
    if not person.other_surnames:
        return None
    surnames = person.other_surnames if chance.random() < 0.5 else person.other_surnames[-1:]
    return _compose(person, _given(person, chance), _all(surnames, chance), chance)


def _second_name(person: Person, chance: random.Random) -> Typed | None:
    if len(person.given) < 2 or " " in person.given[1]:
        return None
    return _compose(
        person, [_part(person.given[1], chance)], _all(person.surnames[-1:], chance), chance, to_the_end=True
    )


def _nickname(person: Person, chance: random.Random) -> Typed | None:
    named = [one for one in person.given if one in _NICKNAME_OF]
    if not named:
        return None
    given = chance.choice(named)
    nick = chance.choice(_NICKNAME_OF[given])
    surnames = _all(person.surnames[-1:], chance) if chance.random() < 0.7 else []
    part = _Part(nick, Word(canonical(given), canonical(nick), NICKNAME))
    return _compose(person, [part], surnames, chance, to_the_end=bool(surnames))


def _title(person: Person, chance: random.Random) -> Typed:
    title = chance.choice(_TITLES[person.sex])
    surnames = _all(person.surnames[-1:], chance) if chance.random() < 0.7 else []
    form = title + "{given} {surnames}"
    return _compose(person, _given(person, chance), surnames, chance, to_the_end=bool(surnames), form=form)


def _mail_style(person: Person, chance: random.Random) -> Typed:
    first, last = canonical(person.given[0]), canonical(person.surnames[-1])
    text = _plain_lower(f"{person.given[0]}.{person.surnames[-1].split()[-1]}").replace(" ", "")
    if chance.random() < 1 / 3:
        text = text.replace(".", "") + str(chance.randint(60, 99))
    words = Word(first, first), (Word(last, last),)
    return Typed(text, *words, suffix_left_out=bool(person.suffix), has_surname=True)


def _decorated(person: Person, chance: random.Random) -> Typed:
    form = "{given} {surnames}" + chance.choice(_DECORATIONS)
    return _compose(person, _given(person, chance), _all(person.surnames[-1:], chance), chance, form=form)


def _suffix_added(person: Person, chance: random.Random) -> Typed | None:
    if person.suffix:
        return None
    added = chance.choice(("Junior", "Filho", "Neto"))
    typed = _first_last(person, chance)
    return replace(typed, text=f"{typed.text} {added}", suffix=added)


_KINDS: dict[str, Callable[[Person, random.Random], Typed | None]] = {
    "whole": _whole,
    "plain": _whole,
    "no_middle": _no_middle,
    "first_last": _first_last,
    "first_middle": _first_middle,
    "first_name": _first_name,
    "no_name": lambda *_: Typed(""),
    "placeholder": lambda _, chance: Typed(chance.choice(PLACEHOLDERS)),
    "initials": _initials,
    "cut": _cut,
    "surname_first": _surname_first,
    "typo_surname": _typo_surname,
    "typo_given": _typo_given,
    "sound": _sound,
    "married": _married,
    "second_name": _second_name,
    "nickname": _nickname,
    "title": _title,
    "mail_style": _mail_style,
    "decorated": _decorated,
    "suffix_added": _suffix_added,
}
