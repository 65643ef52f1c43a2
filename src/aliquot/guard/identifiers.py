"""Structured identifiers of patients, by rule. Pure, linear in the length of the text.

Formats that carry a check digit count when it is right; others need a word beside them that says what they are. Sources: the 18
identifiers of HIPAA 45 CFR 164.514(b)(2), NHS number (modulus 11), German KVNR (§ 290 SGB V), Swiss AHV number (EAN-13 check
digit), French NIR (97 − n mod 97), US Medicare MBI (CMS format).
"""

import re
import unicodedata
from collections.abc import Callable, Iterator

_DIGIT = {code: str(unicodedata.digit(chr(code))) for code in range(0x660, 0x1FBFA) if unicodedata.digit(chr(code), None) is not None}
_SPACES = dict.fromkeys((*range(0x2000, 0x200B), 0xA0, 0x1680, 0x202F, 0x205F, 0x3000, 0x09), " ")
_DASHES = dict.fromkeys((*range(0x2010, 0x2016), 0x2212, 0xFE58, 0xFE63, 0xFF0D, 0x2043), "-")
_UNSEEN = dict.fromkeys((0xAD, 0x34F, 0x61C, 0x180E, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF))
_PLAIN = _DIGIT | _SPACES | _DASHES | _UNSEEN

_MONTH = r"(?:jan|feb|mar|mär|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez)[a-zéäû]{0,8}\.?"
_DATE = (
    r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.] ?\d{1,2}[-/.] ?(?:\d{4}|\d{2})|\d{1,2}(?:st|nd|rd|th|\.)? (?:of )?" + _MONTH
    + r",? ?\d{2,4}|" + _MONTH + r" \d{1,2}(?:st|nd|rd|th)?,? \d{4})"
)  # fmt: skip
_BORN = (
    r"\b(?:d\.? ?o\.? ?b\b|date of birth|birth ?date|birthday|born|geb(?:\.|oren)|geburtsdatum|geburtstag|née? le|date de naissance"
    r"|fecha de nacimiento|nacid[oa] el|data di nascita|nat[oa] il)"
)
_LABEL = r"[ ]?(?:is|was|ist|lautet|no|nr|num(?:ber)?|id|#|n°)?[.: #=-]{0,4}"
_NUMBERED = (
    r"\b(?:mrn|medical record(?: (?:no|number|id))?|med(?:ical)? rec|health record(?: number)?|patient(?:en)?[- ]?(?:id|no|nr|number"
    r"|nummer|identifier|record|#)|pat[.-]?(?:nr|id)|hospital (?:no|number|id)|chart (?:no|number|#)|fallnummer|fall-?nr|aufnahmenummer"
    r"|nhs(?: (?:no|number))?|ssn|social security(?: (?:no|number))?|insurance (?:no|number|id|policy|member)|member id|policy number"
    r"|medicare|medicaid|versicherten-?(?:nummer|nr)|versicherungs-?(?:nummer|nr)|krankenkassen-?(?:nummer|nr)|kvnr|ahv(?:-?nummer|-?nr)?"
    r"|sozialversicherungs-?(?:nummer|nr)|numéro de sécurité sociale|n[°o] de dossier|nir|número de historia clínica|codice fiscale"
    r"|health card(?: number)?|beneficiary(?: (?:id|number))?)"
)
_PERSON = (
    r"\b(?:patient(?:in|e|'s|s')?|pt\.?|next of kin|angehörige[rn]?|paziente|paciente|mother of|father of|parent of|caregiver)(?![\w-])"
)
_MAIL = r"[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}"
_PHONE = r"(?<![\w.-])(?=(?:[^\d\n]{0,3}\d){7})(?:\+|00)?\(?\d{1,4}\)?(?:[ ./-]?\(?\d{2,5}\)?){1,4}[ ./-]?\d{2,5}(?![\w-])"
_NAME = r"(?:(?:mr|mrs|ms|miss|herr|frau|mme|sr|sra)\.? )?[A-ZÄÖÜÉÈ][a-zäöüßéèñç'’-]{1,30}[ ,]{1,2}[A-ZÄÖÜÉÈ][a-zäöüßéèñç'’-]{1,30}"


def _re(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_BIRTH = _re(_BORN + r"[^\n\d]{0,20}?" + _DATE)
_LABELLED = _re(_NUMBERED + _LABEL + r"(?=[a-z/ -]{0,6}\d)[a-z]{0,4}[ /-]?\d(?:[ /.-]?[\da-z]){3,19}(?![\w])")
_US_SSN = re.compile(r"(?<![\d-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])")
_NINO = re.compile(r"(?<!\w)(?![DFIQUV])[A-Z](?![DFIQUVO])[A-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D](?!\w)")
_MBI = re.compile(r"(?<!\w)[1-9][AC-HJKMNP-RT-Y][AC-HJKMNP-RT-Y\d]\d-?[AC-HJKMNP-RT-Y][AC-HJKMNP-RT-Y\d]\d-?[AC-HJKMNP-RT-Y]{2}\d\d(?!\w)")
_NHS = re.compile(r"(?<![\d-])\d{3}[ -]\d{3}[ -]\d{4}(?![\d-])")
_KVNR = re.compile(r"(?<!\w)[A-Z] ?\d{3} ?\d{3} ?\d{3}(?!\w)")
_AHV = re.compile(r"(?<!\d)756[. ]?\d{4}[. ]?\d{4}[. ]?\d{2}(?!\d)")
_NIR = re.compile(r"(?<!\d)[12] ?\d{2} ?(?:0[1-9]|1[0-2]|[2-9]\d) ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}(?!\d)")
_CONTACT = (
    _re(_PERSON + r"[^\n]{0,80}?(?:" + _MAIL + "|" + _PHONE + ")"),
    _re("(?:" + _MAIL + "|" + _PHONE + r")[^\n]{0,40}?" + _PERSON),
)
_NAMED = re.compile(r"\b(?:[Pp]atient(?:in)?|PATIENT|[Pp]t\.?)(?: name)?(?: is| heißt| named| called)?[: ]{1,3}" + _NAME)
_PARTICULAR = _re(
    r"\b(?:(?:the|my|our|this|that|a|one|his|her|der|die|meine?|unsere?[nr]?|diese[rn]?|le|la|mon|notre|el|mi|il) (?:\w+ ){0,2}"
    r"(?:patient(?:in|e)?|pt|paziente|paciente)\b"
    r"(?![- ](?:data|safety|care|record|privacy|portal|population|cohort|group|class|information))"
    r"|patient(?:in)? (?:has|had|is|was|presents?|presented|reports?|complains?|denies|hat|ist|klagt|a|présente)\b"
    r"|\d{1,3}[- ]?(?:year|yr|y\.?)s?[- ]?(?:old|o\b)|\d{1,3} ?(?:y/o|yo)\b|\d{1,3}[- ]?jährige[rn]?|âgée? de \d|de \d{1,3} ans\b"
    r"|(?:mr|mrs|ms|herr|frau|mme)\.? [a-zäöü][\w'-]+ (?:was|is|has|wurde|ist|hat) (?:admitted|diagnosed|discharged|aufgenommen))"
)
_NUMBER = re.compile(r"\d(?:\D{0,3}\d){4}")  # without it none of the numbers below can be there
_WORD = re.compile(r"[^\W\d_]+")
_STEMS = (
    "patient", "kin", "angehörig", "pazient", "pacient", "mother", "father", "parent", "caregiver", "mrn", "med", "health",
    "hospital", "chart", "fall", "aufnahme", "nhs", "ssn", "social", "insurance", "member", "policy", "versicher", "krankenkass",
    "kvnr", "ahv", "sozial", "numéro", "número", "dossier", "codice", "beneficiar", "birth", "born", "dob", "geboren", "geburt",
    "nacid", "fecha", "date", "data", "year", "jährig", "herr", "frau", "âgé",
)  # fmt: skip
_SHORT = frozenset(
    {"pt", "pat", "n", "b", "o", "y", "yo", "yr", "yrs", "ans", "mr", "mrs", "ms", "mme", "né", "née", "nir", "geb", "nata", "nato"}
)


def plain(text: str) -> str:
    """`text` with every digit, space and dash in its plain form and nothing that is not seen."""
    return text if text.isascii() else unicodedata.normalize("NFC", text.translate(_PLAIN))


def identified(text: str) -> bool:
    """Whether the (plain) text holds an identifier of a patient."""
    cue = _cue(text)
    if cue and _NAMED.search(text):
        return True
    if cue and any(pattern.search(text) for pattern in (_BIRTH, _LABELLED, *_CONTACT)):
        return True
    if _NUMBER.search(text) is None:
        return False
    return bool(_US_SSN.search(text) or _NINO.search(text) or _MBI.search(text)) or any(_checked(text))


def speaks_of_one(text: str) -> bool:
    """Whether the (plain) text speaks of one particular patient without naming them."""
    return _cue(text) and _PARTICULAR.search(text) is not None


def _cue(text: str) -> bool:
    """Whether there is a word without which no rule that needs one can hold. Looking for words is cheap, the rules are not."""
    words = set(_WORD.findall(text.lower()))
    return not words.isdisjoint(_SHORT) or any(word.startswith(_STEMS) for word in words)


def _checked(text: str) -> Iterator[bool]:
    rules: tuple[tuple[re.Pattern[str], Callable[[str], bool]], ...] = ((_NHS, _nhs), (_KVNR, _kvnr), (_AHV, _ahv), (_NIR, _nir))
    for pattern, holds in rules:
        yield any(holds(re.sub(r"[^0-9A-Z]", "", found.group())) for found in pattern.finditer(text))


def _nhs(number: str) -> bool:
    check = 11 - sum(int(digit) * weight for digit, weight in zip(number[:9], range(10, 1, -1), strict=True)) % 11
    return check % 11 == int(number[9]) and check != 10


def _kvnr(number: str) -> bool:
    digits = f"{ord(number[0]) - 64:02d}{number[1:9]}"
    total = sum(sum(divmod(int(digit) * (1 + i % 2), 10)) for i, digit in enumerate(digits))
    return total % 10 == int(number[9])


def _ahv(number: str) -> bool:
    total = sum(int(digit) * (1 + 2 * (i % 2)) for i, digit in enumerate(number[:12]))
    return -total % 10 == int(number[12])


def _nir(number: str) -> bool:
    body = number[:13].replace("2A", "19").replace("2B", "18")
    return 97 - int(body) % 97 == int(number[13:])
