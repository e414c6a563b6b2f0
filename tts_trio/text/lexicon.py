"""The closed lists of function words, which tell which words a speaker does not part."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import attrs


def _words(*lines: str) -> frozenset[str]:
    return frozenset(word.replace("ё", "е") for line in lines for word in line.split())


def _beginnings(words: Iterable[str]) -> frozenset[str]:
    return frozenset(word[:length] for word in words for length in range(1, len(word) + 1))


@attrs.frozen(kw_only=True)
class Lexicon:
    """The closed lists of one language, all words in lower case and with ``е`` for ``ё``.

    Attributes:
        language: The language code for `sentencex`; None: the script of the word decides.
        binders: Words that belong to the next one, so that no phrase ends with them: articles and determiners,
            prepositions, conjunctions, negations, auxiliaries, adverbs of degree, numbers.
        pronouns: Words that may be the subject of the next verb, so that a phrase ends with them only before an
            opener.
        binding_endings: Endings of adjectives, which belong to the noun after them.
        openers: Words before which a speaker could draw breath: conjunctions, prepositions, relative words.
        auxiliaries: Words that are openers too, except after a pronoun.
        clingers: Words that belong to the one before, so that no phrase begins with them.
        money: Units of money, after which a sum may go on ("five dollars and ten cents").
        change: Words with which a sum goes on: "and" and numerals.
        labels: Nouns before a figure or a name, so that no phrase ends with them before the next word is known.
        calendar: Months and weekdays, after which a date may go on ("5 мая 2024", "Monday, May 5").
        abbreviations: Words that with a full stop belong to the next word, and never end a sentence.
        closing_abbreviations: Words that with a full stop end a sentence if a capital letter follows.
        address_hints: Words before an address of the Internet.
        answers: Words that `sentencex` takes for abbreviations, although they can be sentences of their own.
        ordinals: Whether the language writes an ordinal as a figure and a full stop: "am 3. Juni".
        short_abbreviation: The most letters of a word that counts as an abbreviation if a full stop and a figure
            follow, although no list has it.
        short_word: The most letters of a word that counts as a function word, for languages without lists.
        beginnings_of_clingers: All beginnings of `clingers`, for a word that is not known to its end.
        beginnings_of_change: All beginnings of `change`, likewise.
    """

    language: str | None = None
    binders: frozenset[str] = frozenset()
    pronouns: frozenset[str] = frozenset()
    binding_endings: tuple[str, ...] = ()
    openers: frozenset[str] = frozenset()
    auxiliaries: frozenset[str] = frozenset()
    clingers: frozenset[str] = frozenset()
    money: frozenset[str] = frozenset()
    change: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()
    calendar: frozenset[str] = frozenset()
    abbreviations: frozenset[str] = frozenset()
    closing_abbreviations: frozenset[str] = frozenset()
    address_hints: frozenset[str] = frozenset()
    answers: frozenset[str] = frozenset()
    ordinals: bool = False
    short_abbreviation: int = 4
    short_word: int = 0
    beginnings_of_clingers: frozenset[str] = attrs.field(
        init=False,
        default=attrs.Factory(lambda lexicon: _beginnings(lexicon.clingers), takes_self=True),
    )
    beginnings_of_change: frozenset[str] = attrs.field(
        init=False,
        default=attrs.Factory(lambda lexicon: _beginnings(lexicon.change), takes_self=True),
    )

    def binds(self, core: str) -> bool:
        """Whether the word belongs to any word after it."""
        return (
            core in self.binders
            or len(core) <= self.short_word
            or (len(core) > 4 and core.endswith(self.binding_endings))
        )


_RUSSIAN_CONJUNCTIONS = _words(
    "и а но или либо да что чтобы чтоб как если когда пока где куда откуда почему зачем хотя поскольку потому",
    "зато раз чем будто словно который которая которое которые которого которой которому которую которым",
    "которых которыми котором чей чья чье чьи кто чего чему",
)
_RUSSIAN_PREPOSITIONS = _words(
    "в во на с со к ко у от до из изо из-за из-под о об обо по за для без безо при про через между перед передо",
    "под подо над ради возле около вокруг вместо кроме среди сквозь после против вдоль мимо насчет внутри согласно",
)
_RUSSIAN_NUMERALS = _words(
    "ноль один два две двух двум двумя три трех трем четыре четырех пять пяти шесть шести семь семи восемь",
    "восьми девять девяти десять десяти одиннадцать двенадцать тринадцать четырнадцать пятнадцать шестнадцать",
    "семнадцать восемнадцать девятнадцать двадцать двадцати тридцать тридцати сорок сорока пятьдесят шестьдесят",
    "семьдесят восемьдесят девяносто сто двести триста четыреста пятьсот шестьсот семьсот восемьсот девятьсот",
    "тысяча тысячи тысяч миллион миллиона миллионов миллиард",
)
_RUSSIAN_AUXILIARIES = _words("будет будут был была было были можно нужно надо")

RUSSIAN = Lexicon(
    language="ru",
    binders=_RUSSIAN_CONJUNCTIONS
    | _RUSSIAN_PREPOSITIONS
    | _RUSSIAN_AUXILIARIES
    | _RUSSIAN_NUMERALS
    | _words(
        "не ни нет уже еще только почти очень самый самая самое самые более менее именно даже лишь слишком",
        "довольно примерно ровно так также тоже буду будем будете есть могу может можем могут можете хочу хотите",
        "нужна нужны нужен давайте это эта этот эти этого этой этому этим этих этом эту тот та те того той тех ту весь",
        "вся все всего всей всем всех всю каждый каждая каждое каждую любой мой моя мое мои мою моей моего наш наша",
        "наше наши нашего нашей нашем нашу наших ваш ваша ваше ваши вашего вашей вашем вашу ваших вашему свой своя",
        "свое свои своего своей своем свою своих одна одно одни одну сам сама сами какой какая какое какие такой такая",
        "их его ее полтора полторы пару несколько сколько тыс млн млрд номер номера № г-н г-жа",
    ),
    pronouns=_words("я мы вы ты он она оно они мне нам вам тебе ему ей им меня нас вас тебя"),
    binding_endings=("ый", "ий", "ая", "яя", "ое", "ого", "ому", "ую", "юю", "ых", "ыми"),
    openers=_RUSSIAN_CONJUNCTIONS | _RUSSIAN_PREPOSITIONS | _words("я мы он она они"),
    auxiliaries=_RUSSIAN_AUXILIARIES,
    clingers=_words("ли же бы утра вечера ночи дня года №"),
    money=_words("рубль рубля рублей рублю рублям доллар доллара долларов евро гривен тенге юаней"),
    change=_RUSSIAN_NUMERALS | _words("и"),
    labels=_words(
        "дом дома доме корпус строение квартира квартиру квартиры офис кабинет кабинете подъезд этаж этаже вагон место",
        "рейс рейса маршрут автобус автобусы троллейбус трамвай выход версия версии пункт пункте индекс код кода",
        "поезд зал линия счет сумму сумма размер размера улица улице проспект проспекте метро часов часа час",
        "минут минуты м имени господин госпожа доктор доктору доктора добавочный отправления",
    ),
    calendar=_words("января февраля марта апреля мая июня июля августа сентября октября ноября декабря"),
    abbreviations=_words(
        "ул д кв каб стр им т.е т.к т.н т.ч т.о просп пр пр-т корп тел доб моб оф наб пл пер бул б-р ш обл р-н пос с м",
        "ст г гр проф акад доц см напр рис табл гл абз",
    ),
    closing_abbreviations=_words(
        "руб коп мин сек час тыс млн млрд т.д т.п др янв фев февр мар апр июн июл авг сен сент окт нояб дек гг вв шт",
        "пн вт ср чт пт сб вс кг км см мм мл",
    ),
    address_hints=_words("сайт сайте сайта почта почту почте почты адрес адресу адреса имейл ссылка ссылке ссылку"),
)

_ENGLISH_CONJUNCTIONS = _words(
    "and but or nor so because if unless although though since whether while when where who whose which that than",
)
_ENGLISH_PREPOSITIONS = _words(
    "to for with at in on from by about before after until between over under into onto through during without within",
    "near across against along among behind beside via per toward towards",
)
_ENGLISH_NUMERALS = _words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen",
    "seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million",
    "billion",
)
_ENGLISH_AUXILIARIES = _words(
    "is are was were will would can could shall should has have had may might must",
)

ENGLISH = Lexicon(
    language="en",
    binders=_ENGLISH_CONJUNCTIONS
    | _ENGLISH_PREPOSITIONS
    | _ENGLISH_AUXILIARIES
    | _ENGLISH_NUMERALS
    | _words(
        "a an the my your our his their its this these those no every each any some another other both either neither",
        "all many much few several more most less what such of as like whom once how not never don't doesn't didn't",
        "won't can't cannot couldn't shouldn't wouldn't isn't aren't wasn't weren't haven't hasn't hadn't am be been",
        "being do does did i'm i'll i've i'd you're you'll you've you'd we're we'll we've we'd he's she's it's it'll",
        "they're they'll they've that's that'll there's here's what's who's where's let's let very too quite really",
        "just only also still already almost approximately roughly please i we he she they",
        "half quarter past number № mr mrs ms dr mount saint new",
    ),
    pronouns=_words("you it her us them me him there"),
    openers=_ENGLISH_CONJUNCTIONS | _ENGLISH_PREPOSITIONS | _words("i we he she they"),
    auxiliaries=_ENGLISH_AUXILIARIES,
    clingers=_words("o'clock a.m p.m am pm percent too either else enough ago each №"),
    money=_words("dollar dollars euro euros pound pounds bucks"),
    change=_ENGLISH_NUMERALS | _words("and"),
    labels=_words(
        "room suite apartment apt unit building floor exit gate car seat bus flight train platform terminal route",
        "version clause section page step line lot box option code order ticket extension account lane highway street",
        "station x",
    ),
    calendar=_words("january february march april may june july august september october november december"),
    abbreviations=_words(
        "mr mrs ms mx dr prof st nos e.g i.e vs p.o apt ste bldg fl dept ext tel fig vol jan feb mar apr jun jul aug",
        "sep sept oct nov dec gov gen sen rep rev hon capt lt col sgt approx u.s u.k",
    ),
    closing_abbreviations=_words(
        "etc inc ltd co corp jr sr a.m p.m lb lbs oz ft ave blvd rd min max hr hrs mph sq al",
        "mon tue tues wed thu thur thurs fri sat",
    ),
    address_hints=_words("at to visit site website page email e-mail mail address link url"),
    answers=_words("no"),
)

UNKNOWN = Lexicon(short_word=3, clingers=_words("ครับ ค่ะ คะ ๆ"))

# Languages that write an ordinal as a figure and a full stop (Unicode's CLDR has "d." in their dates).
_ORDINALS = _words("bs cs da de et eu fi fo hr hu is lb lv nb nn no pl sk sl sr tr")


@cache
def lexicon_for(language_code: str | None) -> Lexicon:
    """Return the lists for a language.

    Args:
        language_code: An ISO 639-1 code. None: the lists of Russian and English together. A language without lists gets
            `UNKNOWN`, in which short words count as function words.
    """
    if language_code is None:
        return Lexicon(
            binding_endings=RUSSIAN.binding_endings,
            **{
                field.name: getattr(RUSSIAN, field.name) | getattr(ENGLISH, field.name) | getattr(UNKNOWN, field.name)
                for field in attrs.fields(Lexicon)
                if field.init and isinstance(getattr(RUSSIAN, field.name), frozenset)
            },
        )
    known = {"ru": RUSSIAN, "en": ENGLISH}.get(language_code)
    return known or attrs.evolve(UNKNOWN, language=language_code, ordinals=language_code in _ORDINALS)
