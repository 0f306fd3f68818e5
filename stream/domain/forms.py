"""Reads the columns of a lead form: the lead's name, phone, e-mail and CPF, and the other answers.

Rule 1: each text that was typed becomes one of these. None is dropped before the limit of ``MAX_ANSWERS``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from stream.domain.errors import PoisonError
from stream.domain.identity import Cpf, Email, Phone, is_placeholder
from stream.domain.own_cpf import asks_for_own_cpf, is_named_cpf
from stream.domain.typed_text import texts_of

MAX_ANSWERS = 20
MAX_ANSWER_CHARS = 300  # of an answer, and of its question

_PHONES = ("PHONE_NUMBER", "WORK_PHONE")
_EMAILS = ("EMAIL", "WORK_EMAIL")
_NAMES = ("FULL_NAME", "FIRST_NAME", "LAST_NAME")
_NO_DENIED_ALIASES: frozenset[str] = frozenset()


class FormAnswer(msgspec.Struct, frozen=True, gc=False):
    """The answer to one question of a form, as typed."""

    question: str
    answer: str

    def __repr__(self) -> str:
        return f"FormAnswer({len(self.question)}, {len(self.answer)} characters)"


@dataclass(frozen=True, slots=True)
class FormFields:
    """What a form says about the lead, as typed; "" if it was not given."""

    name: str
    phone: str
    email: str
    cpf: str
    answers: tuple[FormAnswer, ...]


@dataclass(frozen=True, slots=True)
class _Column:
    """``key``: the column's id or name in capital letters; ``question``: the text that the person read."""

    key: str
    question: str
    text: str


def read_form(user_column_data: object) -> FormFields:
    """Read ``user_column_data``; raises PoisonError if it is not an array of objects."""
    columns = _columns(user_column_data)
    phone = _best(columns, _PHONES, _is_phone)
    email = _best(columns, _EMAILS, _is_email)
    cpfs = _own_cpfs(columns)
    used = {id(column) for column in (phone, email, *cpfs) if column is not None}
    name = _name(columns)
    used_texts = {column.text for column in columns if id(column) in used}
    rest = [
        column
        for column in columns
        if column.text and id(column) not in used and not _repeats(column, used_texts, name)
    ]
    return FormFields(name, _text(phone), _text(email), cpfs[0].text if cpfs else "", _answers(rest))


def _columns(value: object) -> list[_Column]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise PoisonError("an array is required", path="user_column_data")
    columns = []
    for index, fields in enumerate(value):
        if not isinstance(fields, dict):
            raise PoisonError("an object is required", path=f"user_column_data[{index}]")
        column = _column(fields)
        if column is not None:
            columns.append(column)
    return columns


def _column(fields: dict[str, Any]) -> _Column | None:
    column_id, name = fields.get("column_id"), fields.get("column_name")
    key = column_id or name
    if not isinstance(key, str):
        return None
    question = texts_of(name) or texts_of(column_id)
    return _Column(key.upper(), question, texts_of(fields.get("string_value")))


def _best(columns: list[_Column], keys: tuple[str, ...], is_readable: Any) -> _Column | None:
    """In the order of ``keys``: the first column that can be read, else the first one that was filled in."""
    filled = [column for key in keys for column in columns if column.key == key and column.text]
    return next((column for column in filled if is_readable(column.text)), filled[0] if filled else None)


def _is_phone(text: str) -> bool:
    phone = Phone.parse(text)
    return phone is not None and not is_placeholder(phone, _NO_DENIED_ALIASES)


def _is_email(text: str) -> bool:
    email = Email.parse(text)
    return email is not None and not is_placeholder(email, _NO_DENIED_ALIASES)


def _own_cpfs(columns: list[_Column]) -> list[_Column]:
    """The columns with the person's own CPF. Those named CPF come first, and alone decide. None if they disagree."""
    asked = [(column, cpf) for column in columns if _asks(column) and (cpf := _real_cpf(column.text)) is not None]
    named = [(column, cpf) for column, cpf in asked if is_named_cpf(column.key) or is_named_cpf(column.question)]
    chosen = named or asked
    digits = {cpf.digits for _, cpf in chosen}
    return [column for column, cpf in (*named, *asked) if cpf.digits in digits] if len(digits) == 1 else []


def _asks(column: _Column) -> bool:
    """Whether a column asks for the person's own CPF. Neither its id nor its question may say otherwise."""
    if is_named_cpf(column.key) and is_named_cpf(column.question):
        return True
    texts = [text for text in (column.key, column.question) if "CPF" in text.upper()]
    return bool(texts) and all(map(asks_for_own_cpf, texts))


def _real_cpf(text: str) -> Cpf | None:
    cpf = Cpf.parse(text)
    return None if cpf is None or is_placeholder(cpf, _NO_DENIED_ALIASES) else cpf


def _name(columns: list[_Column]) -> str:
    texts = {column.key: column.text for column in reversed(columns) if column.key in _NAMES}
    return texts.get("FULL_NAME") or f"{texts.get('FIRST_NAME', '')} {texts.get('LAST_NAME', '')}".strip()


def _text(column: _Column | None) -> str:
    return "" if column is None else column.text


def _repeats(column: _Column, used_texts: set[str], name: str) -> bool:
    """Whether the lead's name, phone or e-mail contains the column's text already."""
    if column.key in _NAMES:
        return column.text in name
    return column.key in (*_PHONES, *_EMAILS) and column.text in used_texts


def _answers(columns: Iterable[_Column]) -> tuple[FormAnswer, ...]:
    answers = dict.fromkeys(
        FormAnswer(column.question[:MAX_ANSWER_CHARS], column.text[:MAX_ANSWER_CHARS]) for column in columns
    )
    return tuple(answers)[:MAX_ANSWERS]
