"""Masks phones, CPFs, e-mails and secrets in a text, however they are written.

Rule 1: What an operator needs stays: UUIDs, dates and times, addresses of servers, offsets, milliseconds since 1970,
versions, decimals, counts and lists of them.
Rule 2: The time grows linearly with the length of the text, whatever the text is.
"""

from stream.logs.masking.emails import without_emails
from stream.logs.masking.meaning import is_cpf, is_identifier
from stream.logs.masking.numbers import without_numbers
from stream.logs.masking.secrets import is_secret_key, without_secrets

__all__ = ["is_cpf", "is_identifier", "is_secret_key", "without_emails", "without_numbers", "without_secrets"]
