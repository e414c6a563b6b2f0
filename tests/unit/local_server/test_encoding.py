from __future__ import annotations

import io
import math
import struct
from array import array
from itertools import pairwise

import av
import pytest

from tests.helpers.sound import decode, rms, sample_rate_of
from tts_trio.local_server.encoding import OUTPUT_FORMATS, STREAMED_FORMATS, Encoder
from tts_trio.local_server.espeak import EspeakVoice

SOURCE_RATE = 22050
PIECE_MS = 60


def tone(seconds: float, sample_rate: int = SOURCE_RATE) -> bytes:
    wave = [round(8000 * math.sin(2 * math.pi * 440 * i / sample_rate)) for i in range(round(seconds * sample_rate))]
    return array("h", wave).tobytes()


def encode(output_format: str, samples: bytes, sample_rate: int = SOURCE_RATE) -> list[bytes]:
    encoder = Encoder(output_format)
    step = 2 * sample_rate * PIECE_MS // 1000
    pieces = [encoder.encode(samples[i : i + step], sample_rate) for i in range(0, len(samples), step)]
    return [*pieces, encoder.flush()]


def padding(output_format: str) -> float:
    """How much longer than the sound a stream may be, in seconds: raw MP3 cannot say where its padding is."""
    return 0.08 if output_format in {"mp3_22050_32", "mp3_24000_48"} else 0.05


@pytest.mark.parametrize("output_format", OUTPUT_FORMATS)
def test_every_format_decodes_to_the_same_sound(output_format):
    data = b"".join(encode(output_format, tone(1.5)))

    samples = decode(output_format, data)
    assert len(samples) / sample_rate_of(output_format) == pytest.approx(1.5, abs=padding(output_format))
    assert rms(samples) == pytest.approx(8000 / math.sqrt(2), rel=0.1)


@pytest.mark.parametrize("output_format", [name for name in STREAMED_FORMATS if name.startswith(("mp3", "opus"))])
def test_bit_rate_is_the_one_asked_for(output_format):
    speech = EspeakVoice().speak("Good morning! " * 4, language_code="en", speed=1, sample_rate=SOURCE_RATE)
    data = b"".join(encode(output_format, speech.samples))

    kilobits = int(output_format.rpartition("_")[2])
    seconds = len(speech.samples) / 2 / SOURCE_RATE
    tolerance = 0.05 if output_format.startswith("mp3") else 0.4  # Opus varies its rate
    assert len(data) * 8 / 1000 / seconds == pytest.approx(kilobits, rel=tolerance)


@pytest.mark.parametrize("output_format", STREAMED_FORMATS)
def test_streamed_formats_come_while_they_are_encoded(output_format):
    pieces = encode(output_format, tone(1.5))

    for count in (8, 16, 24):
        samples = decode(output_format, b"".join(pieces[:count]))
        lag = count * PIECE_MS / 1000 - len(samples) / sample_rate_of(output_format)
        assert lag < 0.2


@pytest.mark.parametrize("output_format", ["wav_16000", "m4a_aac_44100_128"])
def test_files_come_whole(output_format):
    *pieces, rest = encode(output_format, tone(0.5))

    assert not any(pieces)
    assert rest


def test_ogg_pages_are_short():
    data = b"".join(encode("opus_48000_64", tone(2)))

    granules: list[int] = []
    position = 0
    while position < len(data):
        magic, granule = struct.unpack_from("<4sxxq", data, position)
        assert magic == b"OggS"
        granules.append(granule)
        segments = data[position + 26]
        position += 27 + segments + sum(data[position + 27 : position + 27 + segments])
    assert granules[:2] == [0, 0]  # the two headers
    assert all(0 < later - earlier <= 48000 * 0.12 for earlier, later in pairwise(granules[1:]))
    assert granules[-1] / 48000 == pytest.approx(2, abs=0.02)  # with the encoder's delay


@pytest.mark.parametrize("output_format", ["mp3_22050_32", "mp3_44100_128", "ulaw_8000"])
def test_streams_decode_one_after_the_other(output_format):
    data = b"".join(encode(output_format, tone(1)) * 3)

    samples = decode(output_format, data)
    assert len(samples) / sample_rate_of(output_format) == pytest.approx(3, abs=3 * padding(output_format))
    assert rms(samples) == pytest.approx(8000 / math.sqrt(2), rel=0.1)


@pytest.mark.parametrize("sample_rate", [8000, 16000, 22050, 24000, 32000, 44100, 48000])
def test_pcm_of_its_own_rate_is_left_alone(sample_rate):
    samples = tone(0.5, sample_rate)

    assert b"".join(encode(f"pcm_{sample_rate}", samples, sample_rate)) == samples


def test_wav_is_pcm_behind_a_plain_header():
    samples = tone(0.5, 16000)

    data = b"".join(encode("wav_16000", samples, 16000))
    header = struct.pack(
        *("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(samples), b"WAVE", b"fmt ", 16),
        *(1, 1, 16000, 32000, 2, 16, b"data", len(samples)),
    )
    assert data == header + samples


def expand_ulaw(code: int) -> int:
    """ITU-T G.711, table 2: the value in the middle of an interval, in 16 bits."""
    code ^= 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
    return -magnitude if code & 0x80 else magnitude


def expand_alaw(code: int) -> int:
    """ITU-T G.711, table 1."""
    code ^= 0x55
    segment, step = code >> 4 & 7, (code & 0x0F) << 4
    magnitude = step + 8 if segment == 0 else step + 0x108 << segment - 1
    return magnitude if code & 0x80 else -magnitude


@pytest.mark.parametrize(("output_format", "expand"), [("ulaw_8000", expand_ulaw), ("alaw_8000", expand_alaw)])
def test_companding_is_g711(output_format, expand):
    values = array("h", sorted({expand(code) for code in range(256)}))
    codes = b"".join(encode(output_format, values.tobytes(), 8000))
    assert [expand(code) for code in codes] == list(values)

    samples = array("h", range(-32768, 32768, 7))
    codes = b"".join(encode(output_format, samples.tobytes(), 8000))
    for sample, code in zip(samples, codes, strict=True):
        half_an_interval = max(16, abs(sample) / 28)
        assert abs(expand(code) - sample) <= half_an_interval + 4


@pytest.mark.parametrize("output_format", ["pcm_8000", "mp3_44100_128", "opus_48000_64", "ulaw_8000"])
def test_no_sound_is_an_empty_stream(output_format):
    encoder = Encoder(output_format)

    assert encoder.encode(b"", SOURCE_RATE) == b""
    assert encoder.flush() == b""


@pytest.mark.parametrize(("output_format", "magic"), [("wav_16000", b"WAVE"), ("m4a_aac_44100_128", b"ftyp")])
def test_no_sound_is_an_empty_file(output_format, magic):
    data = Encoder(output_format).flush()

    assert len(data) < 400
    assert magic in data[:16]


@pytest.mark.parametrize("output_format", ["", "mp3", "mp3_44100", "pcm_11025", "ulaw_16000", "opus_48000", "PCM_8000"])
def test_unknown_format(output_format):
    with pytest.raises(ValueError, match=r"output_format must be one of mp3_22050_32, .*ulaw_8000.*wav_8000") as error:
        Encoder(output_format)

    assert repr(output_format) in str(error.value)


@pytest.mark.parametrize(("output_format", "muxer"), [("ulaw_8000", "mulaw"), ("alaw_8000", "alaw")])
def test_companding_is_ffmpegs(output_format, muxer):
    """Every sample there is: what is made without PyAV differs in nothing from what is made with it."""
    samples = array("h", range(-32768, 32768)).tobytes()
    output = io.BytesIO()
    with av.open(output, "w", format=muxer) as container:
        stream = container.add_stream(f"pcm_{muxer}", rate=8000, layout="mono")
        frame = av.AudioFrame(format="s16", layout="mono", samples=len(samples) // 2)
        frame.sample_rate = 8000
        frame.planes[0].update(samples)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert Encoder(output_format).encode(samples, 8000) == output.getvalue()
