"""What the phrase policies buy: how soon the first phrase and the first sound come, and what that costs.

The replies are those of the tests' corpus, in pieces as an LLM's tokenizer makes them (1.3 a word in English, 2.3 in
Russian), at a steady rate. The first phrase is timed from the first piece to its leaving; the first sound through the
whole library on a simulated clock: a hot socket to the local server over a link of 100 ms round trip, 75 ms of model
latency. A listener can notice a first phrase that does not end at a mark; "bad" are those that end between words that
cling together by the function-word lists, now that the next word is known. "Gaps" are replies whose playback at
15 characters a second runs dry where whole sentences do not; a reply in which a tool is called counts if it ends later.

    python -m benchmarks phrases [--quick]
    python -m benchmarks phrases --live DIR [--replies 3]
"""

from __future__ import annotations

import statistics
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import attrs
import trio
import trio.testing

from benchmarks import pictures
from benchmarks.live import speak_live
from benchmarks.script import Report, options_of
from benchmarks.slow_link import SlowLink
from tests.corpus import LANGUAGES, Reply, replies
from tts_trio import PhrasePolicy, TTSConfig, TTSError, TTSManager, WebSocketConnectionManager
from tts_trio.cli.console import progress
from tts_trio.config.phrase_policy import Grade
from tts_trio.local_server import LocalServer, ToneVoice
from tts_trio.text import Phraser
from tts_trio.text.boundaries import grade
from tts_trio.text.lexicon import lexicon_for
from tts_trio.text.words import Word, read_word

POLICIES = {
    "sentence": PhrasePolicy.sentence(),
    "balanced": PhrasePolicy.balanced(),
    "eager": PhrasePolicy.eager(),
}
SOONER: dict[str, Callable[[str], bool]] = {
    "the comma of one or two words": lambda text: text.endswith(",") and len(text.split()) <= 2,
    "the mark of a sentence": lambda text: text.endswith((".", "!", "?")),
    "the mark of a clause of three words": lambda text: text.endswith((",", ";", ":")) and len(text.split()) >= 3,
}
"""Where a first phrase could end sooner than with `balanced`."""
RATES = (20, 50, 100)  # pieces a second
_QUICK_RATES = (50,)
_ROUND_TRIP = 0.1
_MODEL_LATENCY = 0.075  # the local server's default
_SPEED = 20.0  # generation, as a multiple of real time; the same
_CHARACTERS_A_SECOND = 15.0  # of speech
_TOOL_CALL = 3.0  # seconds
_TOLERANCE = 0.001  # seconds


@attrs.frozen
class Phrase:
    """A phrase of a reply, and when it left, in seconds from the first piece."""

    text: str
    at: float


@attrs.frozen
class Row:
    """What was measured for one language, rate and policy.

    Attributes:
        language: "en" or "ru".
        rate: Pieces a second.
        policy: A name in `POLICIES`.
        first_phrase: When it left, in ms from the first piece, at the median.
        ratio: The same as a part of what the first whole sentence takes, reply by reply, at the median.
        unmarked: How many first phrases do not end at a mark.
        bad: How many end between words that cling together.
        gaps: How many replies keep the listener waiting where whole sentences do not.
        replies: Of how many.
    """

    language: str
    rate: int
    policy: str
    first_phrase: float
    ratio: float
    unmarked: int
    bad: int
    gaps: int
    replies: int


def schedule(reply: Reply, rate: float) -> list[tuple[float, str]]:
    """When each piece of a reply comes."""
    now, position = 0.0, 0
    timed: list[tuple[float, str]] = []
    for piece in reply.pieces():
        if position in reply.pauses:
            now += _TOOL_CALL
        timed.append((now, piece))
        now += 1 / rate
        position += len(piece)
    return timed


@attrs.define
class Playback:
    """A listener at the other end: what he hears when.

    Attributes:
        ready: When the audio of each phrase begins to come.
        ends: When he has heard each phrase.
        generated: When the service has generated all that was sent.
        gaps: Seconds of silence between phrases.
    """

    ready: list[float] = attrs.field(factory=list[float])
    ends: list[float] = attrs.field(factory=list[float])
    generated: float = 0.0
    gaps: float = 0.0

    def send(self, phrase: Phrase) -> None:
        """Speak a phrase; until the first sound has come, the library has one phrase on its way at a time."""
        sent = max(phrase.at, self.ready[0]) if self.ready else phrase.at
        ready = max(sent + _MODEL_LATENCY, self.generated) + _ROUND_TRIP
        begin = max(ready, self.ends[-1]) if self.ends else ready
        self.gaps += begin - self.ends[-1] if self.ends else 0.0
        spoken = len(phrase.text) / _CHARACTERS_A_SECOND
        self.generated = ready - _ROUND_TRIP + spoken / _SPEED
        self.ready.append(ready)
        self.ends.append(begin + spoken)

    def starves(self, whole: Playback, reply: Reply) -> bool:
        """Whether the listener is kept waiting where whole sentences would not have had him wait."""
        if reply.pauses:
            return self.ends[-1] > whole.ends[-1] + _TOLERANCE
        return self.gaps > _TOLERANCE >= whole.gaps


class SoonerPhraser(Phraser):
    """Ends the first phrase at its mark, without waiting for the next word, where that would do."""

    def __init__(self, policy: PhrasePolicy, language: str, would_do: Callable[[str], bool]) -> None:
        super().__init__(policy, language_code=language)
        self._would_do = would_do
        self._is_first = True

    def feed(self, token: str, now: float, lead: float) -> list[str]:
        """Take a piece of text, and return the phrases that can be sent."""
        phrases = super().feed(token, now, lead)
        if self._is_first and not phrases and self._would_do(self.whole().rstrip()):
            phrases = self.close()
        self._is_first = self._is_first and not phrases
        return phrases


def play(
    reply: Reply, policy: PhrasePolicy, rate: float, would_do: Callable[[str], bool] = lambda _text: False
) -> tuple[list[Phrase], Playback]:
    """Run a reply through a policy; return its phrases, and what the listener hears of them."""
    phraser = SoonerPhraser(policy, reply.language, would_do)
    playback = Playback()
    phrases: list[Phrase] = []
    timed = schedule(reply, rate)

    def leave(texts: list[str], now: float) -> None:
        for text in texts:
            phrases.append(Phrase(text, now))
            playback.send(phrases[-1])

    for now, piece in timed:
        while (deadline := phraser.deadline()) is not None and deadline <= now:
            leave(phraser.expire(deadline), deadline)
        leave(phraser.feed(piece, now, max(0.0, playback.ends[-1] - now) if playback.ends else 0.0), now)
    leave(phraser.close(), timed[-1][0] + 1 / rate)
    return phrases, playback


def ending_of(reply: Reply, phrase: str) -> Grade | None:
    """Grade the end of a first phrase, with the whole next word known; None: the words cling together."""
    rest = reply.text[len(phrase) :].split()
    if not rest:
        return Grade.SENTENCE
    words: list[Word] = []
    gap = ""
    end = 0
    for run in phrase.split():
        end = reply.text.index(run, end) + len(run)
        previous = words[-1] if words else None
        word = read_word(run, end=end, previous=previous, starts_line=previous is None)
        if word is None:
            gap += run
        else:
            gap = ""
            words.append(word)
    lexicon = lexicon_for(reply.language)
    return grade(words[-1], gap, rest[0], complete=True, lexicon=lexicon, sentence=phrase.rstrip())


async def first_audio(corpus: list[Reply], policy: PhrasePolicy | None, rate: float) -> list[float]:
    """Time the first sound of each reply through the library; no policy: of the first piece alone, spoken at once."""
    config = TTSConfig(
        api_key="none",
        voice_id="any",
        base_url="http://127.0.0.1",
        language_code=corpus[0].language,
        phrase_policy=policy or PhrasePolicy(),
    )
    times: list[float] = []
    async with trio.open_nursery() as nursery:
        server = LocalServer(voice=ToneVoice())

        async def open_stream(_: TTSConfig) -> trio.abc.Stream:  # noqa: ASYNC124 - what the manager awaits
            return SlowLink(server.connect(nursery), _ROUND_TRIP, nursery)

        connections = WebSocketConnectionManager(config, open_stream=open_stream)
        async with connections, TTSManager(config, connections) as tts:
            for reply in corpus:
                await connections.connect()
                timed = schedule(reply, rate)
                async with tts.speak(_written(timed if policy else timed[:1])) as audio:
                    begin = trio.current_time()
                    await audio.receive()
                    times.append(trio.current_time() - begin)
        nursery.cancel_scope.cancel()
    return times


async def _written(timed: list[tuple[float, str]]) -> AsyncIterator[str]:  # noqa: ASYNC900 - closed by `speak`
    begin = trio.current_time()
    for at, piece in timed:
        await trio.sleep_until(begin + at)
        yield piece


def time_first_audio(corpus: list[Reply], policy: PhrasePolicy | None, rate: float) -> float:
    """Return the median of `first_audio` in seconds, on a clock that jumps."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    return statistics.median(trio.run(first_audio, corpus, policy, rate, clock=clock))


def measure(language: str, rate: int, policy: str) -> Row:
    """Measure one row of the table, the first sound excepted."""
    corpus = replies(language)
    runs = [play(reply, POLICIES[policy], rate) for reply in corpus]
    whole = [play(reply, POLICIES["sentence"], rate) for reply in corpus]
    endings = [ending_of(reply, phrases[0].text) for reply, (phrases, _) in zip(corpus, runs, strict=True)]
    ratios = [phrases[0].at / sentences[0].at for (phrases, _), (sentences, _) in zip(runs, whole, strict=True)]
    return Row(
        language=language,
        rate=rate,
        policy=policy,
        first_phrase=1000 * statistics.median(phrases[0].at for phrases, _ in runs),
        ratio=statistics.median(ratios),
        unmarked=sum(1 for ending in endings if ending is None or ending < Grade.CLAUSE),
        bad=endings.count(None),
        gaps=sum(heard.starves(best, reply) for (_, heard), (_, best), reply in zip(runs, whole, corpus, strict=True)),
        replies=len(corpus),
    )


@attrs.frozen
class Trial:
    """What would come of it if `balanced` ended first phrases sooner at one kind of mark; times are in ms.

    So many replies would `gain`, by `mean_gain` in the mean of all; so many would have `longer_gaps` between phrases.
    """

    rate: int
    sooner_at: str
    gain: int
    mean_gain: float
    longer_gaps: int
    longest: float


def try_sooner(language: str, rate: int, what: str) -> Trial:
    """Try what would come of it."""
    corpus, policy = replies(language), POLICIES["balanced"]
    pairs = [(play(reply, policy, rate), play(reply, policy, rate, SOONER[what])) for reply in corpus]
    gains = [1000 * (phrases[0].at - sooner[0].at) for (phrases, _), (sooner, _) in pairs]
    gaps = [1000 * (sooner.gaps - heard.gaps) for (_, heard), (_, sooner) in pairs]
    return Trial(
        rate=rate,
        sooner_at=what,
        gain=sum(gain > 1000 * _TOLERANCE for gain in gains),
        mean_gain=statistics.mean(gains),
        longer_gaps=sum(gap > 1000 * _TOLERANCE for gap in gaps),
        longest=max(gaps),
    )


def microseconds_a_token(language: str, policy: PhrasePolicy) -> float:
    """Return the cost of a piece of text, at the best of five rounds over the corpus."""
    texts = [reply.pieces() for reply in replies(language)]
    rounds: list[float] = []
    for _ in range(5):
        begin = time.process_time()
        for pieces in texts:
            phraser = Phraser(policy, language_code=language)
            for i, piece in enumerate(pieces):
                phraser.feed(piece, i / 50, 2.0)
            phraser.close()
        rounds.append(time.process_time() - begin)
    return 1e6 * min(rounds) / sum(map(len, texts))


def main() -> None:
    """Print the tables and draw the picture, or write sounds for ears."""
    parser = options_of(__doc__ or "")
    parser.add_argument("--live", metavar="DIR", type=Path, help="write WAV files of each policy, spoken by ElevenLabs")
    parser.add_argument("--replies", type=int, default=3, help="with --live: how many replies of each language")
    options = parser.parse_args()
    if options.live:
        try:
            speak_live(options.live, POLICIES, options.replies)
        except TTSError as error:
            parser.error(str(error))
        return
    result = Report("phrases", options)
    rates = _QUICK_RATES if options.quick else RATES
    sounds: dict[str, dict[str, dict[float, float | None]]] = {}
    with progress("phrases", len(LANGUAGES) * len(rates) * (1 + len(POLICIES))) as advance:
        for language in LANGUAGES:
            corpus = replies(language)
            lines = sounds[language] = {name: {} for name in (*POLICIES, "tokens")}
            rows: list[dict[str, object]] = []
            for rate in rates:
                lines["tokens"][rate] = least = 1000 * time_first_audio(corpus, None, rate)
                rows.append({"rate": rate, "policy": "tokens", "first_phrase": 0.0, "first_audio": least})
                advance()
                for policy in POLICIES:
                    row = attrs.asdict(measure(language, rate, policy), filter=attrs.filters.exclude("language"))
                    lines[policy][rate] = sound = 1000 * time_first_audio(corpus, POLICIES[policy], rate)
                    rows.append(row | {"first_audio": sound})
                    advance()
            result.add(f"First phrase and first sound, {language}; ms", rows)
            trials = [attrs.asdict(try_sooner(language, rate, what)) for rate in rates for what in SOONER]
            result.add(f"If first phrases of `balanced` ended sooner, {language}; ms", trials)
    result.add(
        "CPU of a piece, µs",
        (
            {"policy": policy} | {language: microseconds_a_token(language, POLICIES[policy]) for language in LANGUAGES}
            for policy in POLICIES
        ),
    )
    pictures.curves(
        result.picture(),
        [(f"First token to first sound, {language}, medians in ms", lines) for language, lines in sounds.items()],
        "pieces a second",
    )
    result.write()


if __name__ == "__main__":
    main()
