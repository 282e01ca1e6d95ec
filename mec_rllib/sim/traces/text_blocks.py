"""Text files, plain or compressed, in blocks of whole lines."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

BLOCK_BYTES = 8 * 2**20
LONGEST_LINE = 64 * 2**20  # bytes; whoever has no line end in so many has no table
BOM = b"\xef\xbb\xbf"
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd"}
FOREIGN = {  # how files begin that are often taken for a CSV
    b"\xff\xfe": "UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8",
    b"PK\x03\x04": "a ZIP or Excel file; save the table as CSV or Parquet",
    b"\xfd7zXZ": "compressed with xz; gzip, bz2 and zstd are read",
}


def text_blocks(file: Path) -> Iterator[tuple[bytes, float]]:
    """The text in blocks of whole lines, and the share of the file that is read by then.

    Raises:
        OSError: it is no text, or cannot be read.
    """
    with pa.OSFile(str(file)) as raw:
        size = max(raw.size(), 1)
        begins = raw.read(8)
        raw.seek(0)
        for magic, what in FOREIGN.items():
            if begins.startswith(magic):
                raise OSError(None, what)
        packed = next((kind for magic, kind in COMPRESSED.items() if begins.startswith(magic)), "")
        text = pa.CompressedInputStream(raw, packed) if packed else raw
        rest = b""
        while block := text.read(BLOCK_BYTES):
            if b"\0" in block:
                raise OSError(None, "not a text file: it holds a zero byte")
            whole, end, after = block.rpartition(b"\n")
            if end:
                yield rest + whole + end, raw.tell() / size
            rest = after if end else rest + after
            if len(rest) > LONGEST_LINE:
                raise OSError(None, f"no line ends within {LONGEST_LINE:,} bytes")
        if rest:
            yield rest, 1.0


def first_bytes(file: Path) -> bytes:
    """How the text begins, without a byte order mark and empty lines; b"" where there is none."""
    for block, _ in text_blocks(file):
        if text := block.removeprefix(BOM).lstrip():
            return text[:64]
    return b""
