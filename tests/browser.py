"""A page as a headless Chromium shows it; for tests that bear needs_chromium."""

import struct
import subprocess
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Picture:
    """What a browser shows, in lines of three bytes a pixel: red, green, blue."""

    width: int
    height: int
    lines: list[bytes]

    @property
    def colours(self) -> Counter[bytes]:
        """How many pixels of a colour there are."""
        return Counter(line[x : x + 3] for line in self.lines for x in range(0, len(line), 3))


def picture_of(
    chromium: str, page: Path, width: int, height: int, anchor: str = ""
) -> tuple[Picture, list[str]]:
    """A picture of a page.

    Args:
        chromium: As the fixture gives it.
        page: A file, in a folder that the browser may write to.
        width: Of the window.
        height: Of the window.
        anchor: What follows the name of the page: `"#part"`.

    Returns:
        The picture, and what the browser wrote to its console.
    """
    file = page.with_suffix(".png")
    size = f"--window-size={width},{height}"
    _, complaints = _opened(chromium, page, size, f"--screenshot={file}", anchor=anchor)
    return _picture(file.read_bytes()), complaints


def elements_of(chromium: str, page: Path) -> tuple[str, list[str]]:
    """The elements of a page, as HTML, after it was loaded.

    Args:
        chromium: As in `picture_of`.
        page: As in `picture_of`.

    Returns:
        They, and what the browser wrote to its console.
    """
    return _opened(chromium, page, "--dump-dom")


def _opened(chromium: str, page: Path, *options: str, anchor: str = "") -> tuple[str, list[str]]:
    done = subprocess.run(
        [
            chromium,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--force-device-scale-factor=1",
            "--enable-logging=stderr",
            f"--user-data-dir={page.parent / 'profile'}",
            *options,
            page.as_uri() + anchor,
        ],
        check=True,
        capture_output=True,
        timeout=90,
    )
    said = done.stderr.decode(errors="replace").splitlines()
    return done.stdout.decode(), [line for line in said if ":CONSOLE" in line]


def _picture(png: bytes) -> Picture:
    """An 8-bit RGB or RGBA image."""
    width, height, _, kind = struct.unpack(">IIBB", png[16:26])
    depth = {2: 3, 6: 4}[kind]
    data, at = b"", 8
    while at < len(png):
        length, name = struct.unpack(">I4s", png[at : at + 8])
        if name == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        at += length + 12
    raw, rows, before = zlib.decompress(data), [], bytes(width * depth)
    for y in range(height):
        start = y * (width * depth + 1)
        row = _unfilter(raw[start], raw[start + 1 : start + 1 + width * depth], before, depth)
        rows.append(b"".join(row[x : x + 3] for x in range(0, len(row), depth)))
        before = row
    return Picture(width, height, rows)


def _unfilter(kind: int, line: bytes, above: bytes, depth: int) -> bytes:
    """One line of a PNG; its filters are in section 9 of the specification."""
    out = bytearray(line)
    for i in range(len(out)):
        left = out[i - depth] if i >= depth else 0
        corner = above[i - depth] if i >= depth else 0
        if kind == 1:
            add = left
        elif kind == 2:
            add = above[i]
        elif kind == 3:
            add = (left + above[i]) // 2
        elif kind == 4:
            near = left + above[i] - corner
            add = min((left, above[i], corner), key=lambda value: abs(near - value))
        else:
            add = 0
        out[i] = (out[i] + add) & 255
    return bytes(out)
