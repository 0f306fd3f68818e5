"""Every rate of the matching corpus. What was not measured is an assumption; it stands here and nowhere else.

Tables whose values add up to 1 are shares of all leads (``KINDS``) or of all phones, e-mails and so on; a single figure
is a probability.
"""

from __future__ import annotations

# How the lead's name is typed: shares of all leads.
KINDS = {
    "whole": 0.223,  # as in the register; a suffix may be left out (SUFFIX_TYPED)
    "plain": 0.14,  # the whole name, in capitals or small letters or without accents
    "no_middle": 0.10,  # some of the middle words are missing
    "first_last": 0.17,  # the first given name and the last surname
    "first_middle": 0.03,  # a given name and a surname that is not the last one
    "first_name": 0.09,  # a given name alone: "Maria", now and then "Maria Eduarda"
    "no_name": 0.03,  # nothing
    "placeholder": 0.015,  # "Cliente WhatsApp"
    "initials": 0.025,  # "Maria A. Souza", at INITIAL_OF_GIVEN "M. Souza"
    "cut": 0.01,  # the form's field ended within the last surname
    "surname_first": 0.01,  # "Souza, Maria"; half of them without the comma
    "typo_surname": 0.025,  # one or two letters of a surname are wrong
    "typo_given": 0.015,  # one or two letters of the first given name are wrong
    "sound": 0.02,  # another spelling of the same sound: Luiz, Luís
    "married": 0.03,  # the name before or after the marriage, where the register has the other one
    "second_name": 0.015,  # known by the second given name: José Carlos Souza types "Carlos Souza"
    "nickname": 0.015,  # "Zé Souza", "Duda"
    "title": 0.01,  # "Dr. João Souza", "Dona Maria"
    "mail_style": 0.01,  # "joao.souza"; one in three "joaosouza82"
    "decorated": 0.015,  # "Ana Souza - corretora", "Ana Souza (11) 9..."
    "suffix_added": 0.002,  # a suffix that the register does not have
}
SUFFIX_TYPED = 0.45  # of people who have one, where the end of the name is typed at all
SUFFIX_SHORT = 0.4  # of the Juniors who type it: "Jr", "Jr."
INITIAL_OF_GIVEN = 0.2  # of the initials: it stands for the first given name
TWO_EDITS = 0.2  # of the typing errors: two letters are wrong

# Who lives together: shares of all households.
HOUSEHOLDS = {
    "alone": 0.36,  # a parent elsewhere is the only relative
    "couple": 0.22,
    "family": 0.30,  # father, mother, one to three children
    "namesakes": 0.08,  # father and son of one name, told apart by a suffix
    "flatmates": 0.04,  # no relatives
}
SUFFIXES = {"Junior": 0.45, "Filho": 0.3, "Neto": 0.15, "Sobrinho": 0.05, "Segundo": 0.03, "II": 0.01, "III": 0.01}
SURNAME_COUNT = {1: 0.10, 2: 0.55, 3: 0.31, 4: 0.04}
TAKES_NAME = 0.55  # of wives: the husband's last surname comes in place of her last one or behind it
REPLACES = 0.5  # of those: it takes a surname's place
OLD_NAME = 0.25  # of changed names: Diretrix still has the one before
SHARED_GIVEN = 0.2  # of children: the first given name is a parent's or a sibling's, with another second one

# What Diretrix answers: shares of phones and of e-mails. "former" are earlier owners of the number, of whom
# FORMER_HOMONYM have the lead's given name and last surname; the order is not a proof (it is shuffled).
PHONES = {"own": 0.47, "household": 0.20, "former": 0.09, "relative_only": 0.07, "former_only": 0.07, "nobody": 0.10}
EMAILS = {"own": 0.60, "household": 0.05, "former": 0.01, "relative_only": 0.03, "former_only": 0.01, "nobody": 0.30}
FORMER_HOMONYM = 0.02
HOMONYM = 0.003  # of former owners: the very same name
SHORTENED = 0.02  # of candidates with a middle surname: Diretrix has the name without it
NAMELESS = 0.01  # of candidates: Diretrix has the CPF and no name
# Beside whom the Work API listed the alias, as PostgreSQL knows it.
LISTED_PHONES = {"none": 0.70, "own": 0.13, "relative": 0.08, "own_and_relative": 0.04, "former": 0.05}
LISTED_EMAILS = {"none": 0.85, "own": 0.10, "relative": 0.03, "own_and_relative": 0.01, "former": 0.01}
STORED = 0.5  # of what Diretrix would answer: it was asked before and the answer is known
WORK_UNKNOWN = 0.02  # of people: the Work API does not know the CPF

# What a lead gives.
ONLY_PHONE, ONLY_EMAIL = 0.12, 0.08
OWN_CPF, SPOUSE_CPF = 0.04, 0.004  # typed into the form
