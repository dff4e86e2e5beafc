"""Pictures that people hand in: read with care, stored plain."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bot import decoder
from bot import hand_in as door
from bot.hand_in import SIDE, hand_in, hand_in_file
from storage.errors import UserError
from storage.images import ImageStore


@pytest.fixture
def images(tmp_path: Path) -> ImageStore:
    """An empty store of pictures."""
    return ImageStore(tmp_path / "images")


def file(format_: str = "PNG", size: tuple[int, int] = (40, 20), mode: str = "RGB", **options: object) -> bytes:
    """A picture in a file: red."""
    buffer = io.BytesIO()
    Image.new(mode, size, "red").save(buffer, format_, **options)
    return buffer.getvalue()


def stored(images: ImageStore, digest: str) -> Image.Image:
    """The picture behind a digest."""
    with Image.open(images.path(digest)) as picture:
        picture.load()
        return picture


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP"])
def test_a_picture_is_stored_by_its_content(images: ImageStore, format_: str) -> None:
    """Whatever its format, it becomes an RGB PNG; twice the same is one file."""
    digest = hand_in(file(format_), images)
    assert digest == hand_in(file(format_), images)
    kept = stored(images, digest)
    assert (kept.format, kept.mode, kept.size) == ("PNG", "RGB", (40, 20))


def test_it_is_made_small_upright_and_plain(images: ImageStore) -> None:
    """A large photograph taken sideways is turned, shrunk, and loses where it was taken."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    exif[0x010E] = "at home"
    kept = stored(images, hand_in(file("JPEG", (2_000, 1_000), exif=exif), images))
    assert kept.size == (SIDE // 2, SIDE)
    assert "exif" not in kept.info
    about = PngInfo()
    about.add_text("secret", "x" * 100)
    assert b"secret" not in images.path(hand_in(file(pnginfo=about), images)).read_bytes()


def test_what_is_transparent_is_white(images: ImageStore) -> None:
    """A generator knows no transparency; a sticker stands on white."""
    buffer = io.BytesIO()
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(buffer, "PNG")
    assert stored(images, hand_in(buffer.getvalue(), images)).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    "content", [b"", b"not a picture", file()[:60], file("GIF"), file("BMP"), b"\x89PNG\r\n\x1a\n"]
)
def test_what_is_no_picture_is_refused(images: ImageStore, content: bytes) -> None:
    """One sentence names what is allowed, and nothing is stored."""
    with pytest.raises(UserError, match="PNG, JPEG or WebP file of at most 10 MB") as refusal:
        hand_in(content, images)
    assert "\n" not in str(refusal.value)
    assert not list(images.path("0" * 64).parent.parent.glob("*/*"))


def test_what_is_too_large_is_refused_unread(images: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes are counted before decoding, pixels by the header: a bomb is never unpacked."""
    with pytest.raises(UserError, match="this one is larger"):
        hand_in(b"\x00" * (door.MAX_BYTES + 1), images)
    large = file()
    monkeypatch.setattr(door, "MAX_PIXELS", 799)
    with pytest.raises(UserError, match="this one is 40 x 20"):
        hand_in(large, images)
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("it was unpacked"))
    with pytest.raises(decoder.NotPlain, match="40 x 20"):
        decoder.plain(large, 799, 512)


def bomb() -> bytes:
    """A PNG of 50,000 x 50,000 that says so in its header alone, and a few bytes more."""
    head = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(100_000))), (b"IEND", b""))
    chunks = [struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_a_bomb_is_refused_by_its_header(images: ImageStore) -> None:
    """50,000 x 50,000 in a hundred bytes: one sentence (S10)."""
    with pytest.raises(UserError, match=r"this one cannot be read \(DecompressionBomb"):
        hand_in(bomb(), images)


@pytest.mark.parametrize("code", ["import os; os.abort()", "x = bytes(4 << 30)", "open('f', 'wb', 0).write(b'x')"])
def test_a_decoder_that_goes_wild_harms_nobody(
    images: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """A crash, a hunger for memory, a file that is written: the child ends, the person reads one sentence (S10)."""
    wild = Path(decoder.__file__).read_text(encoding="utf-8").replace("    limit()\n", f"    limit()\n    {code}\n")
    (tmp_path / "decoder.py").write_text(wild, encoding="utf-8")
    monkeypatch.setattr(decoder, "__file__", str(tmp_path / "decoder.py"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="this one cannot be read"):
        hand_in(file(), images)
    assert not (tmp_path / "f").exists() or (tmp_path / "f").stat().st_size == 0


def test_the_decoder_is_told_no_secret(images: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child has an empty environment (S5)."""
    monkeypatch.setenv("DREAMBOT_DISCORD_TOKEN", "a canary")
    told = "import os, sys; sys.stdout.write('no' + str(dict(os.environ)))"
    (tmp_path / "decoder.py").write_text(told)
    monkeypatch.setattr(decoder, "__file__", str(tmp_path / "decoder.py"))
    with pytest.raises(UserError) as refusal:
        hand_in(file(), images)
    assert "canary" not in str(refusal.value)


def test_a_file_that_cannot_be_read_is_said(images: ImageStore, tmp_path: Path) -> None:
    """The option is named with the reason."""
    with pytest.raises(UserError, match=r"--image names a file .* No such file"):
        hand_in_file(tmp_path / "none.png", images)
    with pytest.raises(UserError, match=r"--from names a file .* No such file"):
        hand_in_file(tmp_path / "none.png", images, "--from")
    (tmp_path / "red.png").write_bytes(file())
    assert images.read(hand_in_file(tmp_path / "red.png", images)) is not None
