"""Personal data in queries: card numbers, IBANs, mail addresses, phone numbers; found, and masked where asked.

Found

- card numbers: 13 to 19 digits that a card network issues (ISO/IEC 7812 ranges) with a right check digit (Luhn), in one piece or in groups
- IBANs of the countries of the ISO 13616 registry, with its length and check digits (mod 97), in one piece or in groups, small letters too
- mail addresses: ``name@host.tld``
- phone numbers: with a country code (``+`` or ``00``); with a trunk ``0`` and 9 to 11 digits; North American in groups of 3, 3 and 4

Not found, since without a check digit they look like amounts, dates or order numbers: phone numbers of other shapes (ten digits in one
piece, extensions, fewer than nine digits), account numbers and sort codes, card numbers with a wrong digit or spaced digit by digit. And
nothing that is told in words: names, addresses, dates of birth, "name at host dot com".

Taken for what it is not: nine to eleven digits with a leading zero are a phone number unless they begin as a date does or a word like
``order`` or ``reference`` stands before them. One in ten numbers in the range of a card network has a right check digit by chance.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

PLACEHOLDERS = {
    "mail_address": "[mail address]",
    "iban": "[IBAN]",
    "card_number": "[card number]",
    "phone_number": "[phone number]",
}
KINDS = tuple(PLACEHOLDERS)  # in this order: what an earlier kind claimed, a later one does not look at

_MAIL = re.compile(r"(?<![\w.+-])[\w.+%-][\w.+%'-]{0,63}@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24}")

_SEPARATOR = r"[ .\-\u2013]?"
_IBAN_START = re.compile(rf"(?<!\w)([A-Za-z]{{2}}){_SEPARATOR}[0-9]{_SEPARATOR}[0-9](?={_SEPARATOR}[A-Za-z0-9])")
_FEWEST_DIGITS = 10  # of an IBAN, else one in 97 sentences with "be 16 ..." would be one
_IBAN_LENGTHS = {
    country: int(length)
    for country, length in re.findall(
        r"([A-Z]{2})(\d{2})",
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 "
        "FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 "
        "MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 "
        "SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30",
    )
}

_DIGIT_GROUPS = re.compile(r"(?<![\w+])[0-9]+(?:[ .\-\u2013][0-9]+)*(?!\w)")
_CARD_RANGES = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|3(?:0[0-5]|[689]\d)\d{11}"  # Diners Club
    r"|35(?:2[89]|[3-8]\d)\d{12,15}"  # JCB
    r"|(?:6011|62\d\d|64[4-9]\d|65\d\d)\d{12,15}"  # Discover, UnionPay
    r"|(?:50|5[6-8]|6\d)\d{11,17}"  # Maestro
)
_LONGEST_CARD = 19

# what may stand between two digits of a phone number; a slash before a zero starts the next number
_BETWEEN = r"(?:\) ?|[ .\-\u2013]\(?|/(?!\(?0)\(?|\()?"
_DATE = r"\d{1,2}(?P<mark>[./-])\d{1,2}(?P=mark)(?:\d{4}|\d\d)(?!\d|(?P=mark)\d)"
_END = r"(?![\w%])(?!:[0-5]\d(?!\d))"  # a time of day may stand behind a date
_ABROAD = rf"\(?\+[1-9](?:{_BETWEEN}[0-9]){{7,14}}(?!\w)"
_AT_HOME = (
    rf"(?:00{_BETWEEN}(?:1(?:{_BETWEEN}[0-9]){{10}}|[2-9](?:{_BETWEEN}[0-9]){{8,12}})"
    rf"|\(?(?!{_DATE})0[1-9](?:{_BETWEEN}[0-9]){{7,9}}"
    rf"|(?:1[ .-])?(?:\([2-9]\d\d\) ?|[2-9]\d\d[ .-])[2-9]\d\d[ .-]\d{{4}}){_END}"
)
_NO_AMOUNT = r"(?<![\w+£$€#])(?<!\d[.,:/-])(?<![£$€] )"
_PHONE = re.compile(rf"(?P<number>(?<![\w+]){_ABROAD}|{_NO_AMOUNT}{_AT_HOME})")
_NEXT_PHONE = re.compile(rf"[.,:/-](?P<number>{_ABROAD}|{_AT_HOME})")  # straight behind a phone number; elsewhere it may be decimals
_REFERENCE = re.compile(
    r"\b(?:order|ref|reference|invoice|ticket|booking|tracking|transaction|receipt|parcel|case (?:number|no))\b\W*"
    r"(?:(?!(?:call|phon|tel|ring|mobil|text|cell|dial|fax|sms)|m[ey]\b)\w{1,6}\W+){0,2}$",
    re.IGNORECASE,
)
_REFERENCE_WINDOW = 60  # characters before a number in which a reference may stand


class Found(NamedTuple):
    """A piece of personal data: its kind (of ``KINDS``) and where it stands, ``text[start:end]``."""

    kind: str
    start: int
    end: int


def find(text: str) -> list[Found]:
    """The personal data of a text, in order and without overlaps."""
    found: list[Found] = []
    for kind, search in zip(KINDS, (_mail_addresses, _ibans, _card_numbers, _phone_numbers), strict=True):
        rest = _replace(text, found, lambda piece: "_" * (piece.end - piece.start))  # as long, so that places stay
        found = sorted([*found, *(Found(kind, start, end) for start, end in search(rest))], key=lambda piece: piece.start)
    return found


def mask(text: str) -> str:
    """The text with a placeholder for each piece of personal data."""
    return _replace(text, find(text), lambda piece: PLACEHOLDERS[piece.kind])


def _replace(text: str, pieces: Sequence[Found], by: Callable[[Found], str]) -> str:
    """The text with each of its pieces, which are in order, replaced."""
    parts, end = [], 0
    for piece in pieces:
        parts += [text[end : piece.start], by(piece)]
        end = piece.end
    return "".join([*parts, text[end:]])


def _mail_addresses(text: str) -> Iterator[tuple[int, int]]:
    return (match.span() for match in _MAIL.finditer(text))


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    end = 0
    for match in _IBAN_START.finditer(text):
        length = _IBAN_LENGTHS.get(match[1].upper())
        if length is None or match.start() < end:
            continue
        whole = re.compile(rf"[A-Za-z0-9](?:{_SEPARATOR}[A-Za-z0-9]){{{length - 1}}}(?!\w)").match(text, match.start())
        iban = re.sub(_SEPARATOR, "", whole[0]) if whole else ""
        if whole and sum(character.isdigit() for character in iban) >= _FEWEST_DIGITS and _mod_97(iban) == 1:
            end = whole.end()
            yield whole.span()


def _mod_97(iban: str) -> int:
    """The remainder of ISO 7064: 1 for an IBAN without a mistake."""
    return int("".join(str(int(character, 36)) for character in iban[4:] + iban[:4])) % 97


def _card_numbers(text: str) -> Iterator[tuple[int, int]]:
    for run in _DIGIT_GROUPS.finditer(text):
        groups = [(run.start() + group.start(), run.start() + group.end()) for group in re.finditer(r"[0-9]+", run[0])]
        first = 0
        while first < len(groups):
            last = _last_group_of_card(text, groups, first)
            if last is not None:
                yield groups[first][0], groups[last][1]
            first = first + 1 if last is None else last + 1


def _last_group_of_card(text: str, groups: list[tuple[int, int]], first: int) -> int | None:
    """The group with which a card number that starts with group ``first`` ends; other numbers may stand before and behind it."""
    digits = ""
    card = None
    for last in range(first, len(groups)):
        start, end = groups[last]
        digits += text[start:end]
        if len(digits) > _LONGEST_CARD:
            break
        if _CARD_RANGES.fullmatch(digits) and _luhn(digits):
            card = last
        if not 3 <= end - start <= 8:  # how groups are written; the last may be shorter
            break
    return card


def _luhn(digits: str) -> bool:
    doubled = [int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def _phone_numbers(text: str) -> Iterator[tuple[int, int]]:
    match = _PHONE.search(text)
    while match:
        start, end = match.span("number")
        if "+" not in match["number"] and _REFERENCE.search(text, max(0, start - _REFERENCE_WINDOW), start):
            match = _PHONE.search(text, end)
        else:
            yield start, end
            match = _NEXT_PHONE.match(text, end) or _PHONE.search(text, end)
