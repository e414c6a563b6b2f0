"""The real voice of the local server: eSpeak NG, called with ctypes from the wheel `espeakng-loader`."""

from __future__ import annotations

import atexit
import ctypes
import shutil
import tempfile
import threading
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

from tts_trio.local_server.encoding import needs_extra
from tts_trio.local_server.speech import Speech

_SAMPLE_RATE = 22050  # eSpeak NG offers no other rate
_WORDS_A_MINUTE = 160  # about 16 characters a second, as people speak; eSpeak NG's default is 175
_KEPT = 128  # texts
_LONGEST_KEPT = 300  # characters: about 20 seconds, less than 1 MB
_LONGEST_PATH = 140  # bytes; eSpeak NG reserves 160 for the path of its data and the names below that path
_PUNCTUATION = frozenset(".,:;!?…¡¿'’\"«»“”„()–—%$€£₽+=/&@#№°。，、！？،؟।")

_NAMES = {"en": "en-us", "zh": "cmn", "no": "nb", "fil": "id", "tl": "id"}  # Indonesian is the closest to Tagalog
_SCRIPTS = {  # by the first word of a letter's Unicode name
    "ARABIC": "ar", "ARMENIAN": "hy", "BENGALI": "bn", "CJK": "cmn", "CYRILLIC": "ru", "DEVANAGARI": "hi",
    "GEORGIAN": "ka", "GREEK": "el", "HANGUL": "ko", "HEBREW": "he", "HIRAGANA": "ja", "KATAKANA": "ja", "TAMIL": "ta",
    "TELUGU": "te", "THAI": "th",
}  # fmt: skip


class EspeakVoice:
    """A robotic voice in a hundred languages, which speaks several hundred times faster than real time.

    The times of the characters come from eSpeak NG's word events. The characters from the start of one word to the
    start of the next share the time between the two evenly. Recent short texts are cached: speaking one again costs
    nothing and returns the same samples, while eSpeak NG would return others.

    A process has one eSpeak NG, which speaks one text at a time.

    Raises:
        ImportError: The extra `voice` is not installed.
    """

    blocking = True

    def __init__(self) -> None:
        _loader()

    def speak(self, text: str, *, language_code: str | None, speed: float, sample_rate: int) -> Speech:
        """Speak a text at 22050 Hz.

        Args:
            text: Any string. Emoji and rare symbols are silent. A text without letters and digits has no sound.
            language_code: ISO 639-1. For None, or a language that eSpeak NG does not speak, the script of the text
                decides: Cyrillic is spoken in Russian, Latin in English.
            speed: 1.0 is about 16 characters a second. eSpeak NG speaks at 0.5 to 2.8.
            sample_rate: This argument has no effect.
        """
        speak = _speak_or_recall if len(text) <= _LONGEST_KEPT else _speak
        return speak(text, language_code, speed)


class _Event(ctypes.Structure):
    """`espeak_EVENT` of eSpeak NG's `speak_lib.h`."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # in characters, from 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_void_p),
    )


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Event))
_LIST_TERMINATED, _WORD = 0, 1  # espeak_EVENT_TYPE
_SYNCHRONOUS, _DONT_EXIT = 2, 0x8000  # espeak_AUDIO_OUTPUT, espeakINITIALIZE_DONT_EXIT
_RATE = 1  # espeak_PARAMETER
_CHARACTERS, _UTF8 = 1, 1  # espeak_POSITION_TYPE, espeakCHARS_UTF8
_LOCK = threading.Lock()


class _Engine:
    """The one eSpeak NG of a process. eSpeak NG is not thread-safe: hold `_LOCK` while calling `speak`."""

    def __init__(self) -> None:
        self._samples = bytearray()
        self._anchors: dict[int, int] = {}  # the first sample of each word, by the position of its first character
        self._covered = 0  # the number of characters up to the end of the last word
        loader = _loader()
        self._espeak = ctypes.CDLL(loader.get_library_path())
        path = _short(Path(loader.get_data_path()))
        if self._espeak.espeak_Initialize(_SYNCHRONOUS, 0, bytes(path), _DONT_EXIT) != _SAMPLE_RATE:
            raise RuntimeError(f"eSpeak NG cannot load its data from {path}")
        self._callback = _CALLBACK(self._receive)  # keeps the callback alive while eSpeak NG may call it
        self._espeak.espeak_SetSynthCallback(self._callback)

    def speak(self, text: str, names: Sequence[str], speed: float) -> Speech:
        """Speak with the first of these voices that eSpeak NG has."""
        self._samples.clear()
        self._anchors, self._covered = {0: 0}, 0
        if any(map(str.isalnum, text)):
            next(name for name in names if self._espeak.espeak_SetVoiceByName(name.encode()) == 0)
            self._espeak.espeak_SetParameter(_RATE, round(_WORDS_A_MINUTE * speed), 0)
            utf8 = ctypes.create_string_buffer(_audible(text).encode())
            size = ctypes.c_size_t(len(utf8))
            if error := self._espeak.espeak_Synth(utf8, size, 0, _CHARACTERS, 0, _UTF8, None, None):
                raise RuntimeError(f"espeak_Synth failed with error {error}")
        borders = _borders(self._anchors, len(text), len(self._samples) // 2)
        return Speech.of(text, bytes(self._samples), _SAMPLE_RATE, borders)

    def _receive(self, samples: int | None, count: int, events: Any) -> int:
        if samples:
            self._samples += ctypes.string_at(samples, 2 * count)
        i = 0
        while (event := events[i]).type != _LIST_TERMINATED:
            start = event.text_position - 1
            if event.type == _WORD and start >= self._covered:  # a number has an event for each of its spoken words
                self._anchors.setdefault(start, event.sample)
                self._covered = start + event.length
            i += 1
        return 0


_engine = cache(_Engine)


def _loader() -> ModuleType:
    """Import the wheel that contains eSpeak NG. Only the extra `voice` installs the wheel, since eSpeak NG is GPL-3."""
    try:
        import espeakng_loader  # pyright: ignore[reportMissingTypeStubs]  # the wheel has neither stubs nor py.typed
    except ImportError:
        raise needs_extra("EspeakVoice", "espeakng-loader", "speak with ToneVoice (serve --voice tone)") from None
    return espeakng_loader


def _speak(text: str, language_code: str | None, speed: float) -> Speech:
    with _LOCK:
        return _engine().speak(text, _names(text, language_code), speed)


_speak_or_recall = lru_cache(maxsize=_KEPT)(_speak)


def _short(path: Path) -> Path:
    if len(bytes(path)) <= _LONGEST_PATH:
        return path
    folder = tempfile.mkdtemp(prefix="espeak-ng-")
    atexit.register(shutil.rmtree, folder)
    link = Path(folder, path.name)
    link.symlink_to(path, target_is_directory=True)
    return link


def _names(text: str, language_code: str | None) -> list[str]:
    """Return possible eSpeak NG names of the language of a text, the likeliest first. The last name exists."""
    language = (language_code or "").lower().partition("-")[0]
    wanted = [_NAMES.get(language, language)] if language.isascii() and language.isalpha() else []
    letters = (unicodedata.name(letter, "").partition(" ")[0] for letter in text if letter.isalpha())
    scripts = Counter(_SCRIPTS[script] for script in letters if script in _SCRIPTS)
    if "ja" in scripts:  # Japanese has more Chinese characters than its own
        return [*wanted, "ja"]
    return [*wanted, *(name for name, _ in scripts.most_common(1)), "en-us"]


def _audible(text: str) -> str:
    """Replace each character that eSpeak NG mishandles with a blank.

    eSpeak NG executes control characters and private code points as commands, and reads out the names of emoji.
    Version 1.52 crashes at some symbols whose names come from another language ("©orl" in Portuguese), and at some
    hyphens ("»-p" in Vietnamese). Letters, numbers and common punctuation remain.
    """

    def is_audible(character: str) -> bool:
        is_letter_mark_or_number = unicodedata.category(character)[0] in "LMN"
        return is_letter_mark_or_number or character in _PUNCTUATION or character.isspace()

    return "".join([character if is_audible(character) else " " for character in text])


def _borders(anchors: Mapping[int, int], characters: int, samples: int) -> list[float]:
    """Return the sample at which each character begins, and the end. Characters between two anchors last equally."""
    known = {place: sample for place, sample in anchors.items() if place < characters} | {characters: samples}
    borders = [
        start + (end - start) * i / (last - first)
        for (first, start), (last, end) in pairwise(known.items())
        for i in range(last - first)
    ]
    return [*borders, samples]
