"""Removes numbers that are no phone from a typed text: hours, dates, prices, flats, house numbers, documents.

It expects text as ``phone_text`` cleans it: small letters, no accents. ``BREAK`` replaces a removed number. No phone
spans it, so the digits before and after it are never joined.
"""

from __future__ import annotations

import re

BREAK = "|"

_HOUR = r"(?:[01]?\d|2[0-4])"
_UNITS = (
    r"anos?|mil(?:hao|hoes)?|k|reais|m2|metros?|quartos?|dorms?|dormitorios?|vagas?|suites?|banheiros?|andar|filhos?|filhas?"
    r"|dias?|mes|meses|min|minutos?|pessoas?|km"
)
_PLACES = (
    r"aptos?|apt|ap|apartamento|bloco|bl|torre|quadra|qd|lote|lt|sala|conj|conjunto|andar|unidade|vaga|box|loja|km"
)
_TIMES = r"as|das|ate|apos|depois|antes|de|em|desde|dia|ano|idade"
_DOCUMENTS = r"cpf|rg|cnpj|cnh|protocolo|matricula|cod|codigo|ref|referencia|imovel|id"
_STREETS = r"rua|avenida|av|alameda|travessa|estrada|rodovia|praca"
_PHONE_WORDS = r"tel|fone|cel|zap|what|contat|lig|\("

_NOISE = re.compile(
    "|".join(
        [
            r"(?<!\d)0(?:[3589]00|303)(?:[\s.()-]{0,2}\d){6,7}(?!\d)",  # 0800 123 4567: Anatel's non-geographic codes
            r"(?<![\d/])\d{1,2}/\d{1,2}(?:/\d{2,4})?(?![\d/])",  # 15/11/2026
            rf"(?<!\d){_HOUR}[:h][0-5]\d(?!\d)(?:\s?(?:hs?|hrs?|horas?|min)(?![a-z]))?",  # 18:30, 18h30
            rf"(?<![\d.-]){_HOUR}\s?(?:hs?|hrs?|horas?)(?![a-z])",  # 18h
            rf"\bentre\s+(?:as\s+)?{_HOUR}\s+e\s+(?:as\s+)?{_HOUR}(?![\d-])",  # entre 9 e 18
            rf"\b(?:de|das)\s+{_HOUR}\s+(?:a|as|ate)\s+(?:as\s+)?{_HOUR}(?![\d-])",  # das 9 as 18
            rf"(?<![\d.,-])\d{{1,3}}(?:[.,]\d{{3}})*(?:,\d{{1,2}})?\s?(?:{_UNITS})(?![a-z])",  # 350 mil, 35 anos, 80m2
            r"\d+(?:[.,]\d+)?\s?%",
            r"(?:r\$|\$|rs\b)\s?[\d.,]*\d",  # R$ 350.000
            r"(?<![\d.,])\d{1,3}(?:\.\d{3})*,\d{2}(?![\d-])",  # 1.250,00
            r"(?<![\d.,-])\d{1,3}(?:\.\d{3})?\.000(?![\d-])",  # 350.000
            r"\bcep\W{0,3}\d{5}[\s.-]?\d{3}(?!\d)",
            rf"\b(?:{_DOCUMENTS})\b\W{{0,3}}\d[\d./-]*",
            rf"\b(?:{_PLACES})\.?\s?[:#]?\s?(?:n[o°]?\.?\s?)?\d{{1,5}}(?![\d-])",  # apto 21
            r"\bcasa\s(?:n[o°]?\.?\s?)?\d{1,5}(?![\d-])",  # "casa:" is a label of the phone at home
            rf"\b(?:{_TIMES})\s+\d{{1,4}}(?![\d-]|/\d)",  # depois das 18
            rf"\b(?:{_STREETS})\b(?:(?!{_PHONE_WORDS})\D){{1,60}}?\d{{1,5}}(?![\d-])",  # Rua das Flores, 21
            r"(?<=[a-z,]\s)(?<!meu\s)(?<!seu\s)n°\s?\d{1,5}(?![\d-])",  # nº 21
            r"\bramal\W{0,3}\d{1,6}(?!\d)",
            r"(?:(?<![a-z])(?:r|ext|extensao|x)|#)\s*[.:]?\s*\d{1,6}\s*$",  # an extension
        ]
    ),
    re.ASCII,
)


def without_noise(text: str) -> str:
    """``text`` with ``BREAK`` in place of each number that the words around it show to be no phone."""
    return _NOISE.sub(BREAK, text)
