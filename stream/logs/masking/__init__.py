"""Masks phones, CPFs, e-mails and secrets in a text, however they are written.

An operator needs the rest: UUIDs, dates and times, addresses of servers, offsets, milliseconds since 1970, versions,
decimals, counts and lists of them. All work grows with the length of a text and no faster.
"""

from stream.logs.masking.emails import without_emails
from stream.logs.masking.meaning import is_cpf, is_identifier
from stream.logs.masking.numbers import without_numbers
from stream.logs.masking.secrets import is_secret_key, without_secrets

__all__ = ["is_cpf", "is_identifier", "is_secret_key", "without_emails", "without_numbers", "without_secrets"]
