"""Decides which questions of a form ask for the CPF of the person who fills it in.

"Qual o CPF do cônjuge?" asks for another person's CPF. To use that one would be the worst error; a CPF that is not used
still reaches the salesperson. So a question counts only if this module knows every word of it, or if it says "seu CPF"
and names nobody else.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_CPF_WORDS = frozenset({"CPF", "CPFS"})
_OWN = re.compile(r"\b(?:SEU|MEU|TEU|YOUR|PROPRIO)(?: (?:PROPRIO|NUMERO|N|NO|NR|DOCUMENTO|DO|DE))* CPF\b")
_ANOTHER = re.compile(
    r"""\b(?:
        CONJUGE\w*|ESPOS[AO]\w*|MARIDO\w*|MULHER\w*|COMPANHEIR\w*|PARCEIR\w*|NAMORAD\w*|NOIV[AO]\w*|CASAL
      | MAES?|PAIS?|FILH[AO]\w*|IRM[AO]\w*|AV[OO]S?|TI[AO]S?|SOBRINH\w*|NET[AO]S?|SOGR[AO]\w*|CUNHAD\w*|PRIM[AO]S?
      | PARENTES?|FAMILIAR\w*|FAMILIA|HERDEIR\w*|FALECID\w*
      | SOCI[AO]S?|FIADOR\w*|AVALISTAS?|RESPONSAVE\w*|DEPENDENTES?|BENEFICIARI\w*|REPRESENTANTES?|PROCURADOR\w*
      | NORAS?|GENROS?|AFILHAD\w*|ENTEAD\w*|PADRAST\w*|MADRAST\w*|INQUILIN\w*|LOCADOR\w*
      | OU\ (?:O\ )?(?:CPF\ )?D[AEO]S?  # "seu CPF ou o da pessoa que vai comprar"
      | TESTEMUNHAS?|COOBRIGAD\w*|CO|PROPRIETARI\w*|VENDEDOR\w*|CORRETOR\w*|CONSULTOR\w*|GERENTES?
      | INDICA\w*|INDICOU|AMIG[AO]\w*|COLEGAS?|CONHECID\w*|CONTADOR\w*|ADVOGAD\w*|PATRAO|CHEFE|EMPREGADOR\w*
      | SPOUSE\w*|WIFE\w*|HUSBAND\w*|MOTHER\w*|FATHER\w*|PARTNER\w*
      | OUTR[AO]S?|TERCEIR\w*|SEGUND[AO]S?|ALGUEM|QUEM|EMPRESA\w*|DEMAIS|AMBOS|TODOS|MEMBROS?|ALUN\w*|PACIENTES?
    )\b""",
    re.VERBOSE,
)
_KNOWN = frozenset(
    {
        *("CPF", "CPFS", "CNPJ", "DOCUMENTO", "NUMERO", "NUMEROS", "N", "NO", "NR", "NUM", "DIGITOS", "ONZE", "11"),
        *(
            "QUAL",
            "QUE",
            "E",
            "O",
            "A",
            "OS",
            "OU",
            "DO",
            "DA",
            "DE",
            "DOS",
            "NOS",
            "POR",
            "P",
            "PARA",
            "COM",
            "SEM",
            "SO",
        ),
        *("SEU", "SEUS", "SUA", "MEU", "TEU", "PROPRIO", "PESSOAL", "VOCE", "PESSOA", "FISICA", "NOME", "COMPLETO"),
        *(
            "INFORME",
            "INFORMAR",
            "INFORMA",
            "DIGITE",
            "DIGITAR",
            "INSIRA",
            "INSERIR",
            "PREENCHA",
            "PREENCHER",
            "ESCREVA",
        ),
        *("COLOQUE", "COLOCAR", "ENVIE", "ENVIAR", "PASSE", "DEIXE", "DIGA", "FORNECA", "CONFIRME", "AQUI", "ABAIXO"),
        *("FAVOR", "GENTILEZA", "SOMENTE", "APENAS", "PONTO", "PONTOS", "TRACO", "TRACOS", "HIFEN", "PONTUACAO"),
        *("CARACTERES", "ESPACOS", "OBRIGATORIO", "OPCIONAL", "VALIDO", "EX", "EXEMPLO", "FORMATO"),
        *("COMPRADOR", "COMPRADORA", "CLIENTE", "INTERESSADO", "INTERESSADA", "PROPONENTE", "LEAD", "USUARIO"),
        *("SIMULACAO", "SIMULAR", "CADASTRO", "CONSULTA", "ANALISE", "CREDITO", "FINANCIAMENTO", "ATENDIMENTO"),
        *("WHAT", "IS", "YOUR", "ENTER", "PLEASE", "NUMBER", "USER"),
    }
)


def is_named_cpf(name: str) -> bool:
    """Whether a column is called CPF and nothing else."""
    return _words(name) in {"CPF", "CPF CNPJ", "CNPJ CPF"}


@lru_cache(maxsize=1_000)
def asks_for_own_cpf(question: str) -> bool:
    """Whether a column's name is CPF, or asks for the CPF of the person who answers."""
    text = _words(question)
    words = text.split()
    if _CPF_WORDS.isdisjoint(words) or _ANOTHER.search(text):
        return False
    return bool(_OWN.search(text)) or all(word in _KNOWN or not word.strip("0X") for word in words)


def _words(text: str) -> str:
    """Capital letters without accents, one blank between words."""
    plain = "".join([one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one)])
    return " ".join(re.findall(r"[A-Z]+|[0-9]+", plain.upper()))
