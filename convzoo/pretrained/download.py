"""One attempt to download a published file: timed, limited and hashed as it comes."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from http.client import responses
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol
from urllib.parse import urlsplit, urlunsplit

from convzoo import __version__

if TYPE_CHECKING:
    from requests import Response

CONNECT_TIMEOUT, READ_TIMEOUT = 10.0, 60.0  # seconds of silence
CHUNK = 1 << 16  # bytes

# A size is published rounded; beyond this factor it is another file.
_ABOUT = 4


class Published(Protocol):
    """What the cache knows of a file, such as a `Record`."""

    @property
    def url(self) -> str | None:
        """Where it is published; None, such as of shipped weights, is refused."""

    @property
    def file(self) -> str:
        """Name in the cache, unique over all files."""

    @property
    def hash(self) -> str | None:
        """``sha256:``, ``sha256-prefix:``, ``sha1:`` or ``md5:`` and hex digits."""

    @property
    def bytes(self) -> int | None:
        """Size, about."""


class FaultError(Exception):
    """What came in the place of a file, and whether to try again."""

    def __init__(self, found: str, expected: str = "", again: bool = False) -> None:
        super().__init__(found)
        self.found, self.expected, self.again = found, expected, again


class Wrong(NamedTuple):
    """A hash or a size that is not the one it should be."""

    expected: str
    found: str


class Hashes:
    """The SHA-256 of a file and, if another hash is expected, that one."""

    def __init__(self, expected: str | None) -> None:
        self.expected = expected
        kind, _, self._digits = (expected or "sha256:").lower().partition(":")
        self._kind = kind.removesuffix("-prefix")
        self._whole = self._kind == kind
        self._sha256 = hashlib.sha256()
        self._other = (
            None
            if self._kind == "sha256"
            else hashlib.new(self._kind, usedforsecurity=False)
        )

    def update(self, chunk: bytes) -> None:
        """Take the next bytes of the file."""
        self._sha256.update(chunk)
        if self._other:
            self._other.update(chunk)

    @property
    def sha256(self) -> str:
        """Hex digits."""
        return self._sha256.hexdigest()

    @property
    def found(self) -> str:
        """In the form of what is expected."""
        return f"{self._kind}:{(self._other or self._sha256).hexdigest()}"

    @property
    def match(self) -> bool:
        """Whether it is as expected, or begins so where a prefix is expected."""
        digits = self.found.removeprefix(f"{self._kind}:")
        return digits == self._digits or (
            not self._whole and digits.startswith(self._digits)
        )


def mismatch(published: Published, hashes: Hashes, size: int) -> Wrong | None:
    """Tell what is wrong with a file of these hashes and this size, if anything is."""
    if hashes.expected:
        return None if hashes.match else Wrong(hashes.expected, hashes.found)
    # Without a hash, at least the page of a captive portal is not recorded.
    if published.bytes and size * _ABOUT < published.bytes:
        return Wrong(f"about {published.bytes} bytes", f"{size} bytes")
    return None


def url_of(published: Published) -> str:
    """Return the url that is asked for the file: the published one, or its mirror.

    Raises:
        ValueError: If there is none, or ``CONVZOO_MIRROR`` is no http or https url.
    """
    if published.url is None:
        raise ValueError(f"{published.file} has no url: it cannot be downloaded.")
    mirror = os.environ.get("CONVZOO_MIRROR")
    if not mirror:
        return published.url
    base, url = urlsplit(mirror), urlsplit(published.url)
    if base.scheme not in {"http", "https"} or not base.netloc:
        raise ValueError(
            "CONVZOO_MIRROR must be a base url that begins with http:// or https://, "
            f"found {mirror!r}."
        )
    path = base.path.rstrip("/") + url.path
    return urlunsplit((base.scheme, base.netloc, path, url.query, ""))


def shown_url(published: Published) -> str:
    """Return the url without a password that a mirror's may hold."""
    url = urlsplit(url_of(published))
    return urlunsplit(url._replace(netloc=url.netloc.rpartition("@")[2]))


def receive(published: Published, url: str, part: Path, expected: str | None) -> Hashes:
    """Download into a new file and return the hashes of what came.

    Args:
        published: What is asked for.
        url: Where, as `url_of` gives it.
        part: The file that is made; it may be left unfinished.
        expected: Hash that what comes will be compared with.

    Raises:
        FaultError: If the network fails.
        OSError: If the disk does.
    """
    from pooch import HTTPDownloader  # noqa: PLC0415
    from requests import RequestException  # noqa: PLC0415
    from tqdm import tqdm  # type: ignore[import-untyped]  # noqa: PLC0415
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    def remember(response: Response, **_: object) -> None:
        # pooch leaves the connection of a failed download to the garbage collector.
        opened.callback(response.close)

    download = HTTPDownloader(
        chunk_size=CHUNK,
        timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
        # What is compressed on its way could be larger than it claims.
        headers={"Accept-Encoding": "identity", "User-Agent": f"convzoo/{__version__}"},
        hooks={"response": remember},
    )
    bar = tqdm(
        desc=published.file,
        total=published.bytes,
        unit="B",
        unit_scale=True,
        leave=False,
        disable=sys.stderr is None or not sys.stderr.isatty(),
    )
    with part.open("xb") as file, bar, ExitStack() as opened:
        sink = _Sink(Hashes(expected), published.bytes, file, bar.update)
        try:
            download(url, sink, None)
        except (RequestException, HTTPError, ValueError) as error:
            raise _fault(error) from error
        file.flush()
        os.fsync(file.fileno())  # or a power cut could leave a hole under a good stamp
    return sink.hashes


class _Sink:
    """A file that is hashed, limited and shown while pooch writes it."""

    def __init__(
        self,
        hashes: Hashes,
        about: int | None,
        file: BinaryIO,
        shown: Callable[[int], object],
    ) -> None:
        self.hashes = hashes
        self._file, self._shown = file, shown
        self._limit, self._size = about and about * _ABOUT, 0

    def write(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._limit and self._size > self._limit:
            about = f"about {self._limit // _ABOUT} bytes"
            raise FaultError(f"more than {self._limit} bytes", about)
        self._file.write(chunk)
        self.hashes.update(chunk)
        self._shown(len(chunk))

    def flush(self) -> None:
        """Nothing: pooch asks for it after every chunk."""


def _fault(error: Exception) -> FaultError:
    """Tell in a few words what failed, and whether it may pass."""
    from requests import exceptions  # noqa: PLC0415

    if isinstance(error, exceptions.HTTPError) and error.response is not None:
        status = error.response.status_code
        again = status >= 500 or status in {408, 429}
        # The server's own words could hold anything.
        known = responses.get(status, "unknown")
        return FaultError(f"HTTP status {status} ({known})", again=again)
    passing = (
        exceptions.ConnectionError,
        exceptions.Timeout,
        exceptions.ChunkedEncodingError,
    )
    again = isinstance(error, passing)
    while inner := _inner(error):
        error = inner
    return FaultError(str(error).rstrip(".") or type(error).__name__, again=again)


def _inner(error: Exception) -> Exception | None:
    """Return the error that requests or urllib3 wrapped into this one."""
    candidates = (getattr(error, "reason", None), *error.args)
    return next((one for one in candidates if isinstance(one, Exception)), None)
