"""English figures: "$1,234.50" is "one thousand two hundred thirty-four dollars and fifty cents"."""

from __future__ import annotations

import re

from tts_trio.text.transforms.figures import LONGEST, Reader, digits, numerals, whole

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_MONTH = rf"(?P<month>{'|'.join(_MONTHS)}|(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\b\.?)"
_MONEY = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
}
_UNITS = {
    "%": ("percent", "percent"), "kg": ("kilogram", "kilograms"), "g": ("gram", "grams"),
    "mg": ("milligram", "milligrams"), "km": ("kilometer", "kilometers"), "m": ("meter", "meters"),
    "cm": ("centimeter", "centimeters"), "mm": ("millimeter", "millimeters"), "mi": ("mile", "miles"),
    "km/h": ("kilometer an hour", "kilometers an hour"), "mph": ("mile an hour", "miles an hour"),
    "lb": ("pound", "pounds"), "lbs": ("pound", "pounds"), "oz": ("ounce", "ounces"), "ft": ("foot", "feet"),
    "ml": ("milliliter", "milliliters"), "l": ("liter", "liters"), "°": ("degree", "degrees"),
    "°C": ("degree Celsius", "degrees Celsius"), "°F": ("degree Fahrenheit", "degrees Fahrenheit"),
    "min": ("minute", "minutes"), "sec": ("second", "seconds"), "hr": ("hour", "hours"), "hrs": ("hour", "hours"),
    "MB": ("megabyte", "megabytes"), "GB": ("gigabyte", "gigabytes"), "TB": ("terabyte", "terabytes"),
    "kWh": ("kilowatt hour", "kilowatt hours"),
}  # fmt: skip
_UNIT = "|".join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True))
_UNIT_NAMES = {unit.lower(): names for unit, names in _UNITS.items()}

_AMOUNT = r"\d{1,3}(?:,\d{3})+|\d+"
_END = r"(?![\w@]|[.,:/-]\w|[*=^]|[–%°$€£])"  # nothing that belongs to the figure follows


def _cardinal(number: int) -> str:
    return numerals()(number, lang="en").replace(",", "").replace(" and ", " ")


def _ordinal(number: int) -> str:
    return numerals()(number, lang="en", to="ordinal").replace(",", "").replace(" and ", " ")


def _year(number: int) -> str:
    return numerals()(number, lang="en", to="year").replace(",", "").replace(" and ", " ")


def _number(text: str) -> str:
    """Read an amount: "1,234", "3.14", "007"."""
    units, point, decimals = text.partition(".")
    if not point and (len(units) > LONGEST or (units.startswith("0") and len(units) > 1)):
        return digits(units, _DIGITS)
    read = _cardinal(whole(units))
    return f"{read} point {digits(decimals, _DIGITS)}" if point else read


def _with_sign(match: re.Match[str], read: str) -> str:
    return f"minus {read}" if match["sign"] else read


def _phone(match: re.Match[str]) -> str | None:
    text = match[0]
    count = sum(char.isdigit() for char in text)
    if not 7 <= count <= 15:
        return None
    return f"plus {digits(text, _DIGITS)}" if "+" in text else digits(text, _DIGITS)


def _say_date(month: int, day: int, year: str | None) -> str | None:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    return f"{_MONTHS[month - 1]} {_ordinal(day)}" + (f", {_year(int(year))}" if year else "")


def _iso_date(match: re.Match[str]) -> str | None:
    return _say_date(int(match["m"]), int(match["d"]), match["y"])


def _slashed_date(match: re.Match[str]) -> str | None:
    first, second = int(match["a"]), int(match["b"])
    if first > 12:
        return _say_date(second, first, match["y"])
    return _say_date(first, second, match["y"]) if second > 12 or first == second else None  # else nobody can tell


def _day_month(match: re.Match[str]) -> str | None:
    day = int(match["d"])
    if not 1 <= day <= 31:
        return None
    year = f", {_year(int(match['y']))}" if match["y"] else ""
    return f"the {_ordinal(day)} of {match['month']}{year}"


def _time(match: re.Match[str]) -> str | None:
    hours, minutes = int(match["h"]), int(match["min"])
    if hours > 24 or minutes > 59:
        return None
    half = f" {match['half']}" if match["half"] else ""
    if minutes == 0:
        return _cardinal(hours) + (half or (" o'clock" if 1 <= hours <= 12 else " hundred hours"))
    return f"{_cardinal(hours)} {'oh ' if minutes < 10 else ''}{_cardinal(minutes)}{half}"


def _money(match: re.Match[str]) -> str:
    one, many, cent, cents = _MONEY[match["currency"]]
    units, _, decimals = match["n"].partition(".")
    amount = whole(units)
    if match["scale"]:
        return _with_sign(match, f"{_number(match['n'])} {match['scale']} {many}")
    read = f"{_cardinal(amount)} {one if amount == 1 else many}"
    change = int(decimals) if decimals else 0
    if change:
        read = (f"{read} and " if amount else "") + f"{_cardinal(change)} {cent if change == 1 else cents}"
    return _with_sign(match, read)


def _unit(match: re.Match[str]) -> str:
    one, many = _UNIT_NAMES[match["unit"].lower()]
    return _with_sign(match, f"{_number(match['n'])} {one if match['n'] == '1' else many}")


def _range(match: re.Match[str]) -> str | None:
    if whole(match["a"]) >= whole(match["b"]):
        return None
    unit = f" {_UNIT_NAMES[match['unit'].lower()][1]}" if match["unit"] else ""
    return f"{_number(match['a'])} to {_number(match['b'])}{unit}"


def _before(match: re.Match[str]) -> str:
    """Return the word before a figure, in lower case."""
    return match.string[max(0, match.start() - 24) : match.start()].rstrip().rpartition(" ")[2].lower()


def _month_day(match: re.Match[str]) -> str | None:
    day = int(match["d"])
    if _before(match) not in _MONTH_NAMES or not 1 <= day <= 31:
        return None
    return _ordinal(day) + (f", {_year(int(match['y']))}" if match["y"] else "")


def _plain(match: re.Match[str]) -> str | None:
    text = match["n"]
    before = _before(match)
    if before.rstrip(":") in _CODES:
        return digits(text, _DIGITS)
    if re.fullmatch(r"1[1-9]\d\d|20\d\d", text) and before in _BEFORE_YEARS:
        return _year(int(text))
    return _with_sign(match, _number(text))


_CODES = frozenset({"code", "pin", "extension", "ext.", "ext", "cvv", "zip"})
_MONTH_NAMES = frozenset(
    map(str.lower, (*_MONTHS, "jan.", "feb.", "mar.", "apr.", "jun.", "jul.", "aug.", "sept.", "oct.", "nov.", "dec."))
)
_BEFORE_YEARS = frozenset(
    {"in", "since", "until", "of", "by", "from", "year", "before", "after", "during", *map(str.lower, _MONTHS)}
)

READERS: tuple[Reader, ...] = (
    (rf"(?P<y>\d{{4}})-(?P<m>\d\d)-(?P<d>\d\d){_END}", _iso_date),
    (rf"(?P<a>\d{{1,2}})/(?P<b>\d{{1,2}})/(?P<y>\d{{4}}){_END}", _slashed_date),
    (
        rf"\+?\d{{1,3}}[ -]?\(\d{{2,4}}\)[ -]?\d{{2,4}}(?:[ -]\d{{2,4}}){{1,2}}{_END}|\+\d(?:[ -]?\d){{6,14}}{_END}",
        _phone,
    ),
    (rf"\(?\d{{3}}\)?[ -]\d{{3}}-\d{{4}}{_END}|\d-\d{{3}}-\d{{3}}-\d{{4}}{_END}|\d{{3}}-\d{{4}}{_END}", _phone),
    (rf"(?P<d>\d{{1,2}})(?:st|nd|rd|th)? (?:of )?{_MONTH}(?:,? (?P<y>\d{{4}}))?(?!\w)", _day_month),
    (rf"(?P<d>\d{{1,2}})(?:st|nd|rd|th)?(?:,? (?P<y>\d{{4}}))?{_END}", _month_day),
    (r"(?P<h>\d{1,2}):(?P<min>\d\d)(?::00)?(?: ?(?P<half>[ap]\.?m\b\.?))?(?![\w:]|\.\w)", _time),
    (
        rf"(?P<sign>[−-]?)(?P<currency>[$€£])\s?(?P<n>(?:{_AMOUNT})(?:\.\d\d?)?)(?:\s(?P<scale>thousand|million|billion))?{_END}",
        _money,
    ),
    (rf"(?P<n>\d+)(?:st|nd|rd|th){_END}", lambda match: _ordinal(int(match["n"])) if len(match["n"]) <= 6 else None),
    (rf"(?P<a>{_AMOUNT})\s?[–-]\s?(?P<b>{_AMOUNT})(?:\s?(?P<unit>{_UNIT}))?{_END}", _range),
    (rf"(?P<sign>[−-]?)(?P<n>(?:{_AMOUNT})(?:\.\d+)?)\s?(?P<unit>{_UNIT})(?!\w|/\w)", _unit),
    (rf"[#№]\s?(?P<n>\d+){_END}", lambda match: f"number {_number(match['n'])}"),
    (rf"24/7{_END}", lambda _: "twenty-four seven"),
    (rf"(?P<sign>[−-]?)(?P<n>(?:{_AMOUNT})(?:\.\d+)?){_END}", _plain),
)
