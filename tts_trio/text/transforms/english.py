"""English figures: "$1,234.50" is "one thousand two hundred thirty-four dollars and fifty cents"."""

from __future__ import annotations

import re

from tts_trio.text.transforms.figures import LONGEST, Reader, digits, numerals, whole, written_before

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
# In capitals: "may" and "march" are words too.
_MONTH = rf"(?P<month>(?-i:(?:{'|'.join(_MONTHS)})\b|(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\b(?:\.(?!\.))?))"
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
    "kWh": ("kilowatt hour", "kilowatt hours"), "h": ("hour", "hours"), "L": ("liter", "liters"),
}  # fmt: skip
# As they are written: "5G" and "3M" are no weight and no length.
_UNIT = "(?-i:" + "|".join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True)) + ")"
_SCALES = {"k": "thousand", "K": "thousand", "M": "million", "m": "million", "B": "billion", "bn": "billion"}
_PERIODS = {"mo": "month", "yr": "year", "hr": "hour", "wk": "week"}

_AMOUNT = r"\d{1,3}(?:,\d{3})+|\d+"
# Nothing that belongs to the figure follows: no other figure, no fraction, no inch.
_END = r"(?![\w@]|[.,:/–-]\w|[–-][$€£]|[*=^+%°$€£¥₽]|[\'’]\d| \d+/\d|[–-]\s?[$€£]?\d)"


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
    return f"{'plus' if match['sign'] == '+' else 'minus'} {read}" if match["sign"] else read


def _phone(match: re.Match[str]) -> str | None:
    text = match[0]
    count = sum(char.isdigit() for char in text)
    if not 7 <= count <= 15:
        return None
    return f"plus {digits(text, _DIGITS)}" if "+" in text else digits(text, _DIGITS)


def _month(name: str) -> str:
    """Return the whole name of a month that may be cut."""
    return next(month for month in _MONTHS if month.startswith(name[:3]))


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
    article = "" if _before(match) == "the" else "the "
    return f"{article}{_ordinal(day)} of {_month(match['month'])}{year}"


def _time(match: re.Match[str]) -> str | None:
    hours, minutes = int(match["h"]), int(match["min"])
    if hours > 24 or minutes > 59:
        return None
    half = f" {match['half']}" if match["half"] else ""
    if minutes == 0:
        return _cardinal(hours) + (half or (" o'clock" if 1 <= hours <= 12 else " hundred hours"))
    return f"{_cardinal(hours)} {'oh ' if minutes < 10 else ''}{_cardinal(minutes)}{half}"


def _times(match: re.Match[str]) -> str | None:
    """Read "9:00–17:00"."""
    read = [_time(time) for part in re.split("[–-]", match[0]) if (time := _TIME.fullmatch(part.strip()))]
    return f"{read[0]} to {read[1]}" if len(read) == 2 and None not in read else None


def _money(match: re.Match[str]) -> str:
    one, many, cent, cents = _MONEY[match["currency"] or match["behind"]]
    units, _, decimals = match["n"].partition(".")
    amount = whole(units)
    per = f" per {_PERIODS.get(match['per'], match['per'])}" if match["per"] else ""
    if match["scale"]:
        return _with_sign(match, f"{_number(match['n'])} {_SCALES.get(match['scale'], match['scale'])} {many}{per}")
    read = f"{_cardinal(amount)} {one if amount == 1 else many}"
    change = int(decimals.ljust(2, "0")) if decimals else 0
    if change:
        read = (f"{read} and " if amount else "") + f"{_cardinal(change)} {cent if change == 1 else cents}"
    return _with_sign(match, read) + per


def _unit(match: re.Match[str]) -> str:
    one, many = _UNITS[match["unit"]]
    return _with_sign(match, f"{_number(match['n'])} {one if match['n'] == '1' else many}")


def _range(match: re.Match[str]) -> str | None:
    if whole(match["a"]) >= whole(match["b"]) or (match["first"] and match["first"] != match["unit"]):
        return None
    if _named_month(match) and not match["unit"] and whole(match["b"]) <= 31:
        return f"{_ordinal(whole(match['a']))} to {_ordinal(whole(match['b']))}"
    unit = f" {_UNITS[match['unit']][1]}" if match["unit"] else ""
    return f"{_number(match['a'])} to {_number(match['b'])}{unit}"


def _amounts(match: re.Match[str]) -> str | None:
    """Read "$10–20", "$10 - $20"."""
    if whole(match["a"]) >= whole(match["b"]):
        return None
    return f"{_number(match['a'])} to {_number(match['b'])} {_MONEY[match['currency']][1]}"


def _before(match: re.Match[str]) -> str:
    """Return the word before a figure, in lower case."""
    return written_before(match).rpartition(" ")[2].lower()


def _named_month(match: re.Match[str]) -> bool:
    return re.search(rf"(?<!\w){_MONTH}\Z", written_before(match)) is not None


def _month_day(match: re.Match[str]) -> str | None:
    day = int(match["d"])
    if not 1 <= day <= 31 or not _named_month(match):
        return None
    return _ordinal(day) + (f", {_year(int(match['y']))}" if match["y"] else "")


def _plain(match: re.Match[str]) -> str | None:
    text = match["n"]
    before = _before(match)
    if "." not in text and _CODE.search(f"{written_before(match)} {text}"):
        return digits(text, _DIGITS)
    if re.fullmatch(r"1[1-9]\d\d|20\d\d", text) and before in _BEFORE_YEARS:
        return _year(int(text))
    plus = " plus" if match["more"] else ""
    return _with_sign(match, _number(text)) + plus


# A figure that is read digit by digit, and what stands before it.
_CODE = re.compile(
    r"(?<!\w)(?:(?:(?:code|pin|extension|ext\.?|cvv|zip)(?: is|:)?|ending in|ends in) \d+|(?-i:[A-Z]{2}) \d{5}"
    r"|(?:number|account|order|id|text [a-z]+ to)(?: is|:)? \d{5,}|(?:call|dial) [1-9]11)\Z",
    re.IGNORECASE,
)
_TIME = re.compile(r"(?P<h>\d{1,2}):(?P<min>\d\d)(?: ?(?P<half>[ap]\.?m\b\.?))?", re.IGNORECASE)
_BEFORE_YEARS = frozenset(
    {"in", "since", "until", "of", "by", "from", "year", "before", "after", "during", *map(str.lower, _MONTHS)}
)

READERS: tuple[Reader, ...] = (
    (rf"(?P<y>\d{{4}})-(?P<m>\d\d)-(?P<d>\d\d){_END}", _iso_date),
    (rf"(?P<a>\d{{1,2}})/(?P<b>\d{{1,2}})/(?P<y>\d{{4}}){_END}", _slashed_date),
    (
        (
            rf"(?:\+\d(?:[ ().-]{{0,2}}\d){{6,14}}|(?:\d{{1,2}}[ .-])?(?:\(\d{{3}}\) ?|\d{{3}}[ .-])\d{{3}}[ .-]\d{{4}}"
            rf"|\d{{3}}-\d{{4}}|0\d{{2,4}}(?: \d{{3,4}}){{1,2}}){_END}"
        ),
        _phone,
    ),
    (rf"(?P<d>\d{{1,2}})(?:st|nd|rd|th)? (?:of )?{_MONTH}(?:,? (?P<y>\d{{4}}))?(?!\w)", _day_month),
    (rf"(?P<d>\d{{1,2}})(?:st|nd|rd|th)?(?:,? (?P<y>\d{{4}}))?{_END}", _month_day),
    (rf"\d{{1,2}}:\d\d\s?[–-]\s?\d{{1,2}}:\d\d(?: ?[ap]\.?m\b\.?)?{_END}", _times),
    (r"(?P<h>\d{1,2}):(?P<min>\d\d)(?::00)?(?: ?(?P<half>[ap]\.?m\b\.?))?(?![\w:]|\.\w|[–-]\d)", _time),
    (rf"(?P<currency>[$€£])(?P<a>{_AMOUNT})\s?[–-]\s?(?P=currency)?(?P<b>{_AMOUNT}){_END}", _amounts),
    (
        (
            rf"(?P<sign>[−-]?)(?:(?P<currency>[$€£])\s?)?(?P<n>(?:{_AMOUNT})(?:\.\d\d?)?)"
            rf"(?(currency)(?:\s?(?P<scale>thousand|million|billion|(?-i:[kKMBm]|bn)(?!\w)))?|\s?(?P<behind>[$€£]))"
            rf"(?:/(?P<per>month|mo|year|yr|hour|hr|day|week|wk|night|person|user)(?!\w))?{_END}"
        ),
        _money,
    ),
    (rf"(?P<n>\d+)(?:st|nd|rd|th){_END}", lambda match: _ordinal(int(match["n"])) if len(match["n"]) <= 6 else None),
    (rf"(?P<a>{_AMOUNT})(?P<first>[%°])?\s?[–-]\s?(?P<b>{_AMOUNT})(?:\s?(?P<unit>{_UNIT}))?{_END}", _range),
    (rf"(?P<sign>[−+-]?)(?P<n>(?:{_AMOUNT})(?:\.\d+)?)\s?(?P<unit>{_UNIT})(?!\w|/\w|[–-]\d)", _unit),
    (rf"[#№]\s?(?P<n>\d+){_END}", lambda match: f"number {_number(match['n'])}"),
    (rf"24/7{_END}", lambda _: "twenty-four seven"),
    (rf"(?P<sign>[−-]?)(?P<n>(?:{_AMOUNT})(?:\.\d+)?)(?P<more>\+(?![\w+]))?{_END}", _plain),
    (rf"(?P<sign>\+)(?P<n>\d{{1,3}})(?P<more>(?!)x)?{_END}", _plain),
)
