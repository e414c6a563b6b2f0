"""Russian figures: "до 5 минут" is "до пяти минут", "2 минуты" is "две минуты".

The case of a figure comes from the preposition before it and from the ending of the noun behind it, and so does its
gender, of which only 1 and 2 have forms (`russian_grammar`). Where the two do not tell, the figure stays as it is.
"""

from __future__ import annotations

import re

from tts_trio.text.transforms.figures import LONGEST, Reader, digits, numerals, whole, written_before
from tts_trio.text.transforms.russian_grammar import (
    ACCUSATIVE,
    DATIVE,
    GENITIVE,
    Case,
    Gender,
    case_and_gender,
    case_before,
    word_before,
)

_DIGITS = ("ноль", "один", "два", "три", "четыре", "пять", "шесть", "семь", "восемь", "девять")
_MONTHS = (
    "января", "февраля", "марта", "апреля", "мая", "июня", "июля", "августа", "сентября", "октября", "ноября",
    "декабря",
)  # fmt: skip
_MONTH = rf"(?P<month>(?:{'|'.join(_MONTHS)}|(?:янв|февр?|мар|апр|июн|июл|авг|сент?|окт|нояб?|дек)(?:\.(?!\.))?)(?!\w))"
# What is counted: its forms after 1, after 2 to 4, after all others; the form of one in the genitive is the second.
_RUBLE, _KOPECK = ("рубль", "рубля", "рублей"), ("копейка", "копейки", "копеек")
_DOLLAR, _CENT = ("доллар", "доллара", "долларов"), ("цент", "цента", "центов")
_EURO = ("евро", "евро", "евро")
_MONEY: dict[str, tuple[tuple[str, str, str], tuple[str, str, str]]] = {
    "₽": (_RUBLE, _KOPECK), "руб": (_RUBLE, _KOPECK), "р": (_RUBLE, _KOPECK), "rub": (_RUBLE, _KOPECK),
    "$": (_DOLLAR, _CENT), "€": (_EURO, _CENT),
}  # fmt: skip
_UNITS: dict[str, tuple[str, str, str]] = {
    "%": ("процент", "процента", "процентов"), "кг": ("килограмм", "килограмма", "килограммов"),
    "г": ("грамм", "грамма", "граммов"), "мг": ("миллиграмм", "миллиграмма", "миллиграммов"),
    "км": ("километр", "километра", "километров"), "м": ("метр", "метра", "метров"),
    "см": ("сантиметр", "сантиметра", "сантиметров"), "мм": ("миллиметр", "миллиметра", "миллиметров"),
    "км/ч": ("километр в час", "километра в час", "километров в час"), "л": ("литр", "литра", "литров"),
    "мл": ("миллилитр", "миллилитра", "миллилитров"), "мин": ("минута", "минуты", "минут"),
    "сек": ("секунда", "секунды", "секунд"), "ч": ("час", "часа", "часов"),
    "шт": ("штука", "штуки", "штук"), "°c": ("градус", "градуса", "градусов"), "°": ("градус", "градуса", "градусов"),
    "мб": ("мегабайт", "мегабайта", "мегабайт"), "гб": ("гигабайт", "гигабайта", "гигабайт"),
    "тыс": ("тысяча", "тысячи", "тысяч"), "млн": ("миллион", "миллиона", "миллионов"),
    "млрд": ("миллиард", "миллиарда", "миллиардов"),
}  # fmt: skip
_UNIT = "|".join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True))
_AMOUNT = r"\d{1,3}(?:[ \u00a0\u202f]\d{3})+|\d+"
_END = r"(?![\w@]|[.,:/–-]\w|[*=^]|\+\w|[%°$€£¥₽]|[\'’]\d| \d+/\d|[–-]\s?\d)"


def _cardinal(number: int, case: Case = "n", gender: Gender = "m") -> str:
    return numerals()(number, lang="ru", case=case, gender=gender)


def _ordinal(number: int, case: Case = "n", gender: Gender = "m") -> str:
    return numerals()(number, lang="ru", to="ordinal", case=case, gender=gender)


def _form(number: int, forms: tuple[str, str, str], case: Case = "n") -> str:
    """Return what is counted in the form that a number asks for, in the nominative or the genitive."""
    one, few, many = forms
    tens, units = number // 10 % 10, number % 10
    if units == 1 and tens != 1:
        return few if case == "g" else one
    return few if case != "g" and 2 <= units <= 4 and tens != 1 else many


def _gender(forms: tuple[str, str, str]) -> Gender:
    return "f" if forms[0][-1] in "ая" else "m"


def _counted(number: int, forms: tuple[str, str, str], case: Case) -> str:
    return f"{_cardinal(number, case, _gender(forms))} {_form(number, forms, case)}"


def _decimal(text: str) -> str | None:
    """Read "3,14": "три целых четырнадцать сотых"."""
    units, decimals = re.split("[.,]", text)
    if len(decimals) > 3:
        return None
    number, part = whole(units), int(decimals)
    names = (("десятая", "десятых"), ("сотая", "сотых"), ("тысячная", "тысячных"))[len(decimals) - 1]
    one = number % 10 == 1 and number % 100 != 11
    one_part = part % 10 == 1 and part % 100 != 11
    return (
        f"{_cardinal(number, gender='f')} {'целая' if one else 'целых'} "
        f"{_cardinal(part, gender='f')} {names[0] if one_part else names[1]}"
    )


def _with_sign(match: re.Match[str], read: str | None) -> str | None:
    return f"{'плюс' if match['sign'] == '+' else 'минус'} {read}" if read and match["sign"] else read


def _stop(match: re.Match[str]) -> str:
    """Return the full stop of an abbreviation where it ends the sentence too."""
    ends = match[0].endswith(".") and re.match(r"\s*\Z|\s+[«\"(]?[A-ZА-ЯЁ]", match.string[match.end() :]) is not None
    return "." if ends else ""


def _phone(match: re.Match[str]) -> str | None:
    count = sum(char.isdigit() for char in match[0])
    if not 7 <= count <= 15:
        return None
    return ("плюс " if "+" in match[0] else "") + digits(match[0], _DIGITS)


def _say_day(match: re.Match[str], day: int, month: int) -> str | None:
    """Read the day of a date: in the genitive, unless the word before it asks for another case."""
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    before = word_before(match)
    if before in ("к", "ко"):
        read = _ordinal(day, "d", "n")
    elif before in ("на", "по", "сегодня", "завтра", "дата:", "это", "за") or before.endswith((":", "—")):
        read = _ordinal(day, "n", "n")
    else:
        read = _ordinal(day, "g", "n")
    return f"{read} {_MONTHS[month - 1]}"


def _date(match: re.Match[str]) -> str | None:
    if not match["y"] and word_before(match) not in _BEFORE_DATES and "0" not in (match["d"][0], match["m"][0]):
        return None  # "Python 3.12"
    if not match["y"] and word_before(match) in ("в", "во"):
        return None  # "в 10.05": a time
    read = _say_day(match, int(match["d"]), int(match["m"]))
    if read is None or not match["y"]:
        return read
    year = int(match["y"]) + (2000 if len(match["y"]) == 2 else 0)
    return f"{read} {_ordinal(year, 'g')} года"


def _day_month(match: re.Match[str]) -> str | None:
    read = _say_day(match, int(match["d"]), _number_of(match["month"]))
    return f"{read} {_ordinal(int(match['y']), 'g')} года" if read and match["y"] else read


def _number_of(month: str) -> int:
    return next(number for number, name in enumerate(_MONTHS, 1) if name[:3] == month[:3].lower())


def _days(match: re.Match[str]) -> str | None:
    """Read "с 1 по 5 мая", "1–5 мая": the former with the preposition before it, the latter where there is none."""
    first, last = int(match["d"]), int(match["last"])
    if not 1 <= first < last <= 31 or (match["dash"] and case_before(word_before(match)) != "n"):
        return None
    month = _MONTHS[_number_of(match["month"]) - 1]
    read = f"{_ordinal(first, 'g', 'n')} по {_ordinal(last, 'n', 'n')} {month}"
    return f"с {read}" if match["dash"] else read


def _year(match: re.Match[str]) -> str | None:
    word = match["year"].lower()
    case: Case = {"год": "n", "года": "g", "г.": "g", "г": "g", "году": "p", "годом": "i"}[word]  # type: ignore[assignment]
    if word in ("г.", "г") and word_before(match) in ("в", "во"):
        case, word = "p", "году"
    elif word == "году" and word_before(match) in ("к", "ко"):
        case = "d"
    elif word in ("г.", "г"):
        word = "года"
    number = int(match["n"])
    return f"{_ordinal(number, case)} {word}{_stop(match)}" if 1000 <= number <= 2100 else None


def _time(match: re.Match[str]) -> str | None:
    hours, minutes = int(match["h"]), int(match["min"])
    before = word_before(match)
    if hours > 24 or minutes > 59:
        return None
    case: Case = "g" if before in ("с", "со") else case_before(before) or "n"
    if minutes == 0:
        return f"{_cardinal(hours, case)} ноль-ноль"
    return f"{_cardinal(hours, case)} {'ноль ' if minutes < 10 else ''}{_cardinal(minutes, case)}"


def _times(match: re.Match[str]) -> str | None:
    """Read "9:00–18:00", before which no preposition asks for another case."""
    if case_before(word_before(match)) != "n" or word_before(match) in ACCUSATIVE:
        return None
    read: list[str] = []
    for hours, minutes in ((int(match["h"]), int(match["min"])), (int(match["h2"]), int(match["min2"]))):
        if hours > 24 or minutes > 59:
            return None
        said = "ноль-ноль" if not minutes else f"{'ноль ' if minutes < 10 else ''}{_cardinal(minutes, 'g')}"
        read.append(f"{_cardinal(hours, 'g')} {said}")
    return f"с {read[0]} до {read[1]}"


def _money(match: re.Match[str]) -> str | None:
    unit, change = _MONEY[(match["before"] or match["after"]).lower().rstrip(".")]
    case = case_before(word_before(match))
    if case not in ("n", "g"):
        return None
    amount = whole(match["n"])
    read = _counted(amount, unit, case)
    if match["change"] and (part := int(match["change"].ljust(2, "0"))):
        read += " " + _counted(part, change, case)
    return _with_sign(match, read + _stop(match))


def _unit(match: re.Match[str]) -> str | None:
    forms = _UNITS[match["unit"].lower().rstrip(".")]
    if match["decimals"]:
        read = _decimal(f"{match['n']}.{match['decimals']}")
        return _with_sign(match, read and f"{read} {forms[1]}{_stop(match)}")
    case = case_before(word_before(match))
    if case not in ("n", "g") or (word_before(match) in ("в", "во") and match["unit"] != "%"):
        return None  # "в 5 км от дома" is another case than "в 5 кг весом"
    return _with_sign(match, _counted(whole(match["n"]), forms, case) + _stop(match))


def _suffixed(match: re.Match[str]) -> str | None:
    """Read an ordinal by its suffix, where only one form ends in it: "5-го", "2-я"."""
    number, suffix = int(match["n"]), match["suffix"].lower()
    if number % 10 == 0 and suffix == "е":
        return None  # "1990-е"
    cases: tuple[Case, ...] = ("n", "g", "d", "i", "p")
    genders: tuple[Gender, ...] = ("m", "f", "n")
    found = {_ordinal(number, case, gender) for case in cases for gender in genders}
    fitting = {form for form in found if form.endswith(suffix)}
    return fitting.pop() if len(fitting) == 1 else None


_BEFORE_DATES = GENITIVE | DATIVE | {"на", "с", "по", "сегодня", "завтра", "дата:"}
_CODES = frozenset({"код", "пин", "пин-код", "индекс", "добавочный", "коду", "кода"})


def _counted_noun(match: re.Match[str]) -> str | None:
    number, noun = whole(match["n"]), match["noun"].lower()
    if word_before(match).rstrip(":") in _CODES or len(str(number)) > LONGEST or match["n"].startswith("0"):
        return None
    told = None if noun in _UNITS else case_and_gender(word_before(match), number, noun)
    return _with_sign(match, told and f"{_cardinal(number, *told)}{match['blank']}{match['noun']}")


def _from_to(match: re.Match[str]) -> str:
    return f"{_cardinal(whole(match['a']), 'g')} до {_cardinal(whole(match['b']), 'g')}"


def _range(match: re.Match[str]) -> str | None:
    first, second = whole(match["a"]), whole(match["b"])
    if first >= second or case_before(word_before(match)) != "n":
        return None
    if not match["unit"] and second > 1000:
        return None  # "2023–2024 гг."
    forms = _UNITS[match["unit"].lower().rstrip(".")] if match["unit"] else None
    if forms is None and second % 10 in (1, 2) and second % 100 not in (11, 12):
        return None
    gender: Gender = "m" if forms is None else _gender(forms)
    read = f"{_cardinal(first, gender=gender)}-{_cardinal(second, gender=gender)}"
    return f"{read} {_form(second, forms)}{_stop(match)}" if forms else read


# A figure that is read digit by digit, and what stands before it.
_CODE = re.compile(
    r"(?:номер|заказ|заказа|счёт|счет|счёта|счета):? \d{5,}\Z|\* \d{4}\Z|[а-яё]\.?, [1-6]\d{5}\Z|\d/\d+, \d{6}\Z"
)


def _plain(match: re.Match[str]) -> str | None:
    """Read a figure behind which no noun follows."""
    text, before = match["n"], word_before(match)
    if before.rstrip(":") in _CODES or len(str(whole(text))) > LONGEST or (text.startswith("0") and len(text) > 1):
        return digits(text, _DIGITS)
    if text.isdigit() and (_CODE.search(f"{written_before(match).lower()} {text}") or re.fullmatch(r"8\d{10}", text)):
        return digits(text, _DIGITS)
    case = case_before(before)
    return _with_sign(match, _cardinal(whole(text), case)) if case is not None else None


READERS: tuple[Reader, ...] = (
    (r"(?P<d>\d{1,2})\.(?P<m>\d\d)(?:\.(?P<y>\d{4}|\d\d))?(?:\s?г\.)?(?![\w%°]|[.,:/-]\d)", _date),
    (rf"\+?\d[ -]?\(\d{{3,5}}\)[ -]?\d{{1,3}}(?:[ -]?\d\d){{2}}{_END}|\+\d(?:[ -]?\d){{9,13}}{_END}", _phone),
    (rf"8[ -]\d{{3}}[ -]\d{{3}}[ -]\d\d[ -]\d\d{_END}|\d{{3}}-\d\d-\d\d{_END}", _phone),
    (rf"(?P<d>\d{{1,2}})(?:(?<=[сc] \d| \d\d) по |(?P<dash>\s?[–-]\s?))(?P<last>\d{{1,2}})[ \u00a0]{_MONTH}", _days),
    (
        rf"(?P<d>\d{{1,2}})[ \u00a0]{_MONTH}(?: (?P<y>(?:19|20)\d\d)(?!\w|[.,]\d| ?(?:г\b|год)))?",
        _day_month,
    ),
    (r"(?P<n>\d{4})[ \u00a0](?P<year>год(?:а|у|ом)?(?!\w)|г(?:\.|(?!\w)))", _year),
    (rf"(?P<h>\d{{1,2}}):(?P<min>\d\d)\s?[–-]\s?(?P<h2>\d{{1,2}}):(?P<min2>\d\d){_END}", _times),
    (r"(?P<h>\d{1,2}):(?P<min>\d\d)(?![\w:]|\.\d|\s?[–-]\s?\d)", _time),
    (rf"(?P<a>\d{{1,4}})\s?[–-]\s?(?P<b>\d{{1,4}})(?:[ \u00a0\u202f]?(?P<unit>{_UNIT})(?!\w|/\w)|{_END})", _range),
    (
        (
            rf"(?P<sign>[−-]?)(?P<before>[$€])?(?P<n>{_AMOUNT})(?:[.,](?P<change>\d\d?))?"
            r"(?(before)|[ \u00a0\u202f]?(?P<after>₽|\$|€|руб(?:\.|(?!\w))|р\.|rub(?!\w)))(?![\w%])"
        ),
        _money,
    ),
    (
        (
            rf"(?P<sign>[−+-]?)(?P<n>{_AMOUNT})(?:[.,](?P<decimals>\d+))?[ \u00a0\u202f]?"
            rf"(?P<unit>(?:{_UNIT})(?!\w|/\w))"
            r"(?:(?<=мин)\.|(?<=сек)\.|(?<=тыс)\.|(?<=шт)\.)?"
        ),
        _unit,
    ),
    (rf"(?P<n>\d{{1,6}})-(?P<suffix>[а-я]{{1,3}}){_END}", _suffixed),
    (rf"(?<=[сc] )(?P<a>\d{{1,4}}) до (?P<b>\d{{1,4}}){_END}", _from_to),
    (rf"(?<=от )(?P<a>\d{{1,4}}) до (?P<b>\d{{1,4}}){_END}", _from_to),
    (
        rf"[#№]\s?(?P<n>\d+){_END}",
        lambda match: f"номер {_cardinal(int(match['n'])) if len(match['n']) <= 6 else digits(match['n'], _DIGITS)}",
    ),
    (rf"(?P<sign>[−-]?)(?P<n>{_AMOUNT})(?P<blank>[ \u00a0])(?P<noun>[а-яё]{{2,24}})(?![\w-])", _counted_noun),
    (rf"(?P<n>\d+),(?P<decimals>\d{{1,3}}){_END}", lambda match: _decimal(match[0])),
    (rf"(?P<sign>[−+-]?)(?P<n>{_AMOUNT}){_END}(?![ \u00a0][а-яё])", _plain),
)
