from __future__ import annotations

import io
import itertools
import math
import random
import struct

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tts_trio.config.audio_clock import AudioClock, WholeSamples, beginning
from tts_trio.config.formats import OUTPUT_FORMATS, AudioFormat

SECONDS = 1.7
ENCODED = [kind for kind in OUTPUT_FORMATS.values() if kind.sample_bytes is None]


def encode(kind: AudioFormat, seconds: float = SECONDS) -> bytes:
    """A tone in an mp3 file (with its information frame) or an Ogg opus file."""
    rate, file = kind.sample_rate, io.BytesIO()
    with av.open(file, "w", format="mp3" if kind.codec == "mp3" else "ogg") as container:
        codec = "libmp3lame" if kind.codec == "mp3" else "libopus"
        stream = container.add_stream(codec, rate=rate, layout="mono")
        stream.bit_rate = (kind.bitrate or 0) * 1000
        samples = [int(9000 * math.sin(index * 0.05)) for index in range(int(rate * seconds))]
        frame = av.AudioFrame(format="s16", layout="mono", samples=len(samples))
        frame.sample_rate = rate
        frame.planes[0].update(struct.pack(f"<{len(samples)}h", *samples))
        resampler = av.AudioResampler(format=stream.format.name, layout="mono", rate=rate)
        frames = (*resampler.resample(frame), *resampler.resample(None), None)
        for piece in frames:
            container.mux(stream.encode(piece))
    return file.getvalue()


@pytest.fixture(scope="module", params=ENCODED, ids=lambda kind: kind.name)
def encoded(request: pytest.FixtureRequest) -> tuple[AudioFormat, bytes]:
    return request.param, encode(request.param)


def seconds(kind: AudioFormat, *pieces: bytes) -> float:
    clock = AudioClock.of(kind)
    for piece in pieces:
        clock.feed(piece)
    return clock.seconds


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize(
    "known",
    [
        AudioFormat("pcm_16000", "pcm", 16000, None, "audio/pcm", 2, b"\0\0"),
        AudioFormat("ulaw_8000", "ulaw", 8000, None, "audio/ulaw", 1, b"\xff"),
        AudioFormat("alaw_8000", "alaw", 8000, None, "audio/alaw", 1, b"\xd5"),
        AudioFormat("mp3_44100_128", "mp3", 44100, 128, "audio/mpeg", None, None),
        AudioFormat("opus_48000_32", "opus", 48000, 32, "audio/opus", None, None),
    ],
    ids=lambda known: known.name,
)
def test_a_format_is_known_by_its_name(known: AudioFormat) -> None:
    assert AudioFormat.parse(known.name) == known


def test_all_streaming_formats_are_there_and_no_other() -> None:
    assert len(OUTPUT_FORMATS) == 21
    assert all(AudioFormat.parse(name).name == name for name in OUTPUT_FORMATS)


@pytest.mark.parametrize("name", ["wav_16000", "pcm", "mp3_44100", "pcm_16000 ", ""])
def test_an_unknown_format_is_refused_with_a_list_of_the_known(name: str) -> None:
    with pytest.raises(ValueError, match=r"must be one of mp3_22050_32, .*pcm_16000.*opus_48000_192") as caught:
        AudioFormat.parse(name)
    assert repr(name) in str(caught.value)


def test_silence_decodes_to_nothing() -> None:
    for name, quietest in (("pcm_8000", 0), ("ulaw_8000", 0), ("alaw_8000", 8)):
        kind = AudioFormat.parse(name)
        assert kind.silence is not None
        codec = {"pcm": "pcm_s16le", "ulaw": "pcm_mulaw", "alaw": "pcm_alaw"}[kind.codec]
        context = av.CodecContext.create(codec, "r")
        context.sample_rate, context.layout = 8000, "mono"
        [frame] = context.decode(av.Packet(kind.silence * 4))
        assert all(abs(sample) <= quietest for sample in struct.unpack("<4h", bytes(frame.planes[0])[:8]))


@given(data=st.binary(max_size=99), sizes=st.lists(st.integers(0, 9), max_size=30))
def test_blocks_are_whole_samples_wherever_the_stream_is_cut(data: bytes, sizes: list[int]) -> None:  # P21
    borders = [0, *itertools.accumulate(sizes)]
    pieces = [data[begin:end] for begin, end in itertools.pairwise([*borders, len(data) + sum(sizes)])]
    whole = WholeSamples(AudioFormat.parse("pcm_16000"))
    blocks = [whole.feed(piece) for piece in pieces]
    assert all(len(block) % 2 == 0 for block in blocks)
    assert b"".join(blocks) + whole.held == data
    assert len(whole.held) == len(data) % 2


@pytest.mark.parametrize("name", ["ulaw_8000", "alaw_8000"])
def test_nothing_is_held_where_a_byte_is_a_sample(name: str) -> None:
    whole = WholeSamples(AudioFormat.parse(name))
    assert whole.feed(b"abc") == b"abc"
    assert whole.held == b""


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [("pcm_16000", 32001, 1.0), ("pcm_22050", 44100, 1.0), ("ulaw_8000", 160, 0.02), ("alaw_8000", 4000, 0.5)],
)
def test_samples_are_counted_exactly(name: str, size: int, expected: float) -> None:
    data = bytes(size)
    assert seconds(AudioFormat.parse(name), *cut(data, 7)) == expected


@pytest.mark.parametrize("size", [1, 13, 417, 10_000_000])
def test_encoded_audio_is_as_long_as_it_sounds(encoded: tuple[AudioFormat, bytes], size: int) -> None:
    kind, data = encoded
    # An mp3 encoder adds up to three frames of its own delay, opus rounds up to a frame of 20 ms.
    longest = 3 * 1152 / kind.sample_rate if kind.codec == "mp3" else 0.02
    assert SECONDS <= seconds(kind, *cut(data, size)) <= SECONDS + longest


@pytest.mark.parametrize("size", [1, 13, 417, 10_000_000])
def test_blocks_are_whole_frames_and_pages(encoded: tuple[AudioFormat, bytes], size: int) -> None:
    kind, data = encoded
    start = b"\xff" if kind.codec == "mp3" else b"OggS"
    whole = WholeSamples(kind)
    blocks = [block for piece in cut(data, size) if (block := whole.feed(piece))]
    data = data[data.index(start) :]  # the tag of an mp3 is left out
    assert b"".join(blocks) == data
    assert whole.clock.seconds == seconds(kind, data)
    assert all(block.startswith(start) for block in blocks)


def test_the_beginning_of_audio_is_whole(encoded: tuple[AudioFormat, bytes]) -> None:
    kind, data = encoded
    assert beginning(kind, data, 0) == b""
    assert beginning(kind, data, 1000) == data
    first = beginning(kind, data, 0.5)
    assert data.startswith(first)
    assert 0.5 <= seconds(kind, first) <= (0.5 + 1152 / kind.sample_rate if kind.codec == "mp3" else SECONDS)
    whole = WholeSamples(kind)
    whole.feed(first)
    assert not whole.held


def test_the_beginning_of_samples_is_exact() -> None:
    assert beginning(AudioFormat.parse("pcm_16000"), bytes(100), 0.001) == bytes(32)
    assert beginning(AudioFormat.parse("ulaw_8000"), bytes(100), 0.001) == bytes(8)


def test_the_length_grows_with_the_audio(encoded: tuple[AudioFormat, bytes]) -> None:
    kind, data = encoded
    clock = AudioClock.of(kind)
    lengths = [0.0]
    for piece in cut(data, 1000):
        clock.feed(piece)
        lengths.append(clock.seconds)
    assert lengths == sorted(lengths)
    # Half of the bytes are about half of the sound, up to a piece, and an Ogg page holds up to a second.
    assert abs(lengths[len(lengths) // 2] - SECONDS / 2) < (0.2 if kind.codec == "mp3" else 1.0)


def test_streams_in_a_row_add_up(encoded: tuple[AudioFormat, bytes]) -> None:  # one clip after another
    kind, data = encoded
    assert seconds(kind, data, data, data) == pytest.approx(3 * seconds(kind, data))


def mp3_frame(fill: int = 0) -> bytes:
    """MPEG-1 Layer III, 128 kbit/s, 44100 Hz, mono, no padding: 417 bytes, 1152 samples."""
    return b"\xff\xfb\x90\xc0" + bytes([fill]) * 413


MP3 = AudioFormat.parse("mp3_44100_128")
FRAME_SECONDS = 1152 / 44100


@pytest.mark.parametrize(
    "noise",
    [
        b"ID3\x04\0\0\0\0\x02\x01" + b"\xff\xfb\x90\xc0" * 64 + b"?",
        b"TAG" + b"\xff" * 125,
        mp3_frame().replace(bytes(24), bytes(20) + b"Info", 1),
        mp3_frame().replace(bytes(24), bytes(20) + b"Xing", 1),
        b"garbage",
        b"\xff\xfb\x90\xc0 not a frame: no header where it ends",
        b"garbage" + (b"\xff\xfb\x90\xc0" + b"x" * 500) * 3,
        b"\xff" * 999,
        mp3_frame()[:200],
    ],
    ids=[
        "id3",
        "id3v1",
        "info",
        "xing",
        "garbage",
        "a false header",
        "garbage and false headers",
        "0xff",
        "half a frame",
    ],
)
def test_what_is_no_mp3_audio_does_not_count(noise: bytes) -> None:
    data = mp3_frame() * 3 + noise + mp3_frame(0x55) * 4
    for size in (1, 100, len(data)):
        counted = seconds(MP3, *cut(data, size)) / FRAME_SECONDS
        # Half a frame cannot be told from a whole one until the next header is missing: it costs one that follows.
        assert counted == pytest.approx(7)


def test_a_frame_counts_when_it_is_whole() -> None:
    assert seconds(MP3, mp3_frame()[:-1]) == 0
    assert seconds(MP3, mp3_frame()[:-1], b"\0") == pytest.approx(FRAME_SECONDS)


def ogg_page(granule: int, body: bytes = b"x" * 300, flags: int = 0) -> bytes:
    segments = [255] * (len(body) // 255) + [len(body) % 255]
    header = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, granule, 7, 0, 0, len(segments))
    return header + bytes(segments) + body


def opus_head(pre_skip: int) -> bytes:
    return ogg_page(0, b"OpusHead" + struct.pack("<BBHIhB", 1, 1, pre_skip, 48000, 0, 0), flags=2)


OPUS = AudioFormat.parse("opus_48000_64")


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        ([opus_head(312), ogg_page(48312)], 48000),
        ([opus_head(312), ogg_page(120)], 0),
        ([opus_head(0), ogg_page(48000), ogg_page(-1), ogg_page(96000)], 96000),
        ([opus_head(0), ogg_page(48000), b"garbage OggS, but no page", ogg_page(96000)], 96000),
        ([opus_head(312), ogg_page(48312), opus_head(312), ogg_page(24312)], 72000),
        ([opus_head(0), ogg_page(10**15), ogg_page(10**15 + 960)], 960),
        ([opus_head(0), ogg_page(48000), ogg_page(960)], 48000),
        ([opus_head(0), ogg_page(48000)[:-1]], 0),
    ],
    ids=["pre-skip", "less than it", "no end", "garbage", "chained", "begins late", "goes back", "not whole"],
)
def test_opus_is_counted_by_granules(pages: list[bytes], expected: int) -> None:
    data = b"".join(pages)
    for size in (1, 100, len(data)):
        assert seconds(OPUS, *cut(data, size)) == expected / 48000


@given(data=st.data())
def test_no_bytes_make_a_clock_fail(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(list(OUTPUT_FORMATS.values())))
    parts = st.sampled_from([b"\xff\xfb\x90\xc0", b"OggS\0\2", b"ID3", b"OpusHead", mp3_frame(), ogg_page(960)])
    stream = b"".join(data.draw(st.lists(parts | st.binary(max_size=40), max_size=12)))
    size = data.draw(st.integers(1, 600))
    assert seconds(kind, *cut(stream, size)) == seconds(kind, stream) >= 0


def test_counting_is_linear() -> None:
    noise = random.Random(1).randbytes(400_000)
    for kind in (MP3, OPUS):
        clock = AudioClock.of(kind)
        for piece in cut(noise, 50):
            clock.feed(piece)
        assert clock.seconds < 1
        assert clock.pending < 70_000
