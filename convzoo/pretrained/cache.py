"""The cache of published weights: found or downloaded, verified, then used.

===================  ==========================================================
CONVZOO_HOME         folder of the files; else the system's one for caches
CONVZOO_OFFLINE      anything but 0: never open a connection
CONVZOO_MIRROR       base url in the place of scheme and host of every url
===================  ==========================================================

Files in the caches of torch, Keras and the Hugging Face hub are used where they lie. A
file's stamp, ``<file>.json``, keeps its size and time, so that only a changed file is
hashed again, and its SHA-256: what was verified once binds all later downloads, also
where the source publishes no hash or a weak one.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from convzoo.pretrained.download import (
    CHUNK,
    FaultError,
    Hashes,
    Published,
    Wrong,
    mismatch,
    receive,
    shown_url,
    url_of,
)

PAUSES = (1.0, 2.0, 4.0)  # seconds before the second, third and fourth attempt
DAY = 86_400.0  # seconds after which an unfinished file belongs to nobody

_SHA256 = re.compile(r"[0-9a-f]{64}")


class DownloadError(OSError):
    """A published file that cannot be had; the message says how to place it by hand.

    Args:
        message: The whole sentence.
        url: Where the file is published, or mirrored.
        path: Where it belongs, or the file that is refused.
        expected: Hash or size that it must have, if known.
        found: What was there instead.
    """

    def __init__(
        self,
        message: str,
        *,
        url: str = "",
        path: Path | None = None,
        expected: str | None = None,
        found: str = "",
    ) -> None:
        super().__init__(message)
        self.url, self.path = url, path
        self.expected, self.found = expected, found


class _Stamp(NamedTuple):
    """What is remembered of a verified file."""

    place: str  # its name, or its path in another library's cache
    size: int
    mtime_ns: int
    hash: str | None  # as it was published then
    sha256: str


# Stamps that a read-only folder did not take.
_unwritten: dict[Path, _Stamp] = {}


def folder() -> Path:
    """Return the folder of the files; it need not exist."""
    home = os.environ.get("CONVZOO_HOME")
    if home:
        return Path(home).expanduser().absolute()
    from platformdirs import user_cache_dir  # noqa: PLC0415

    return Path(user_cache_dir("convzoo"))


def cached(published: Published) -> Path | None:
    """Return the file that `fetch` would verify and use, or None; opens no file."""
    path = _own(published)
    if _is_file(path):
        return path
    return next((path for path, _ in _elsewhere(published)), None)


def fetch(published: Published, *, force: bool = False) -> Path:
    """Return the path of a verified file, downloaded if it is not there yet.

    Several processes may ask at once: one downloads, the others wait and find the file.

    Args:
        published: The file.
        force: Download it anew and replace what is in the cache, damaged or not.

    Raises:
        DownloadError: If the file cannot be had, or the one in the cache is another.
        ValueError: If ``CONVZOO_MIRROR`` is no http or https url.
    """
    found = None if force else _usable(published)
    if found:
        return found
    path = _own(published)
    offline = os.environ.get("CONVZOO_OFFLINE", "")
    if offline not in {"", "0"}:
        raise _error(
            f"{published.file} is not in the cache, and CONVZOO_OFFLINE={offline} "
            "forbids its download: unset it, or place the file of "
            f"{shown_url(published)} as {path}.",
            published,
            path,
        )
    with _locked(published, path):
        if not force and _is_file(path):  # another process was faster
            _check(published, path)
        else:
            _download(published, path)
    return path


def verify(published: Published) -> Path | None:
    """Hash the whole file that is in the cache, stamp or not.

    Returns:
        Its path; None if there is none.

    Raises:
        DownloadError: If it is not the published one.
    """
    return _usable(published, full=True)


def _own(published: Published) -> Path:
    return folder() / published.file


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # in a folder that may not be entered
        return False


def _usable(published: Published, *, full: bool = False) -> Path | None:
    """Return a verified file that is on this machine."""
    path = _own(published)
    if _is_file(path):
        _check(published, path, full=full)
        return path
    for other, sha256 in _elsewhere(published):
        # What other libraries left unfinished is not ours to report.
        with suppress(DownloadError):
            _check(published, other, sha256, full=full)
            return other
    return None


def _elsewhere(published: Published) -> Iterator[tuple[Path, str | None]]:
    """Yield files of other libraries' caches that can be verified.

    The hub names its files by their SHA-256, which comes along.
    """
    parts = urlsplit(published.url or "").path.split("/")
    caches = _home("XDG_CACHE_HOME", Path.home() / ".cache")
    torch = _home("TORCH_HOME", caches / "torch") / "hub" / "checkpoints"
    keras = _home("KERAS_HOME", Path.home() / ".keras") / "models"
    for path in (torch / parts[-1], keras / parts[-1]):
        if _expected(published) and _is_file(path):
            yield path, None
    match parts:
        case ["", organisation, name, "resolve", _, file]:
            hub = _home(
                "HF_HUB_CACHE", _home("HF_HOME", caches / "huggingface") / "hub"
            )
            snapshots = hub / f"models--{organisation}--{name}" / "snapshots"
            for path in sorted(snapshots.glob(f"*/{file}")):
                if not _is_file(path):
                    continue
                blob = _SHA256.fullmatch(path.resolve().name)
                if blob or _expected(published):
                    yield path, blob and blob[0]


def _home(variable: str, usual: Path) -> Path:
    return Path(os.environ.get(variable) or usual).expanduser().absolute()


def _check(
    published: Published, path: Path, sha256: str | None = None, *, full: bool = False
) -> None:
    """Raise a DownloadError unless this is the published file.

    Args:
        published: What it must be.
        path: Where it lies.
        sha256: What it must hash to if nothing else is known.
        full: Hash it even if it is as its stamp remembers it.
    """
    expected = _expected(published) or (sha256 and f"sha256:{sha256}")
    try:
        stat, stamp = path.stat(), _stamp(published)
        now = (_place(path), stat.st_size, stat.st_mtime_ns, published.hash)
        if not full and stamp and stamp[:4] == now:
            return
        hashes = Hashes(expected)
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                hashes.update(chunk)
    except OSError as error:
        raise _error(
            f"{path} cannot be read ({error.strerror or error}): give permission, or "
            f"place the file of {shown_url(published)} there by hand.",
            published,
            path,
        ) from error
    if wrong := mismatch(published, hashes, stat.st_size):
        raise _error(
            f"{path} is not the published file: expected {wrong.expected}, found "
            f"{wrong.found}; delete it, let `convzoo weights download MODEL NAME "
            f"--force` replace it, or place the file of {shown_url(published)} there "
            f"by hand{_unless_changed(published)}.",
            published,
            path,
            wrong,
        )
    _remember(published, _Stamp(*now, hashes.sha256))


def _expected(published: Published) -> str | None:
    """Return the hash that binds: of the file verified first, else the published."""
    stamp = _stamp(published)
    if stamp and stamp.hash == published.hash:
        return f"sha256:{stamp.sha256}"
    return published.hash


def _unless_changed(published: Published) -> str:
    if _expected(published) == published.hash:
        return ""
    return (
        f", or delete {_sidecar(published)}, which recorded that hash, if the source "
        "has changed the file"
    )


def _sidecar(published: Published) -> Path:
    return folder() / f"{published.file}.json"


def _place(path: Path) -> str:
    # A bare name stays true when the cache is moved, or mounted elsewhere.
    return path.name if path.parent == folder() else str(path)


def _stamp(published: Published) -> _Stamp | None:
    path = _sidecar(published)
    try:
        return _Stamp(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return _unwritten.get(path)


def _remember(published: Published, stamp: _Stamp) -> None:
    path = _sidecar(published)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _replacing(path) as part:
            part.write_text(json.dumps(stamp._asdict(), indent=2) + "\n", "utf-8")
        _unwritten.pop(path, None)
    except OSError:  # a read-only cache
        _unwritten[path] = stamp


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Give an unfinished file that takes the place of ``path`` if all goes well."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _locked(published: Published, path: Path) -> Iterator[None]:
    """Let one process at a time download a file."""
    from filelock import FileLock  # noqa: PLC0415

    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    # filelock's own NotImplementedError: a file system without locks.
    except (OSError, NotImplementedError) as error:
        raise _unwritable(published, path, error) from error
    try:
        yield
    finally:
        lock.release()


def _download(published: Published, path: Path) -> None:
    """Put the file under its name, once it is complete and verified."""
    url, mismatches = url_of(published), 0
    _sweep(path)
    for pause in (*PAUSES, None):
        try:
            with _replacing(path) as part:
                hashes = receive(published, url, part, _expected(published))
                stat = part.stat()
                if wrong := mismatch(published, hashes, stat.st_size):
                    mismatches += 1
                    raise FaultError(wrong.found, wrong.expected, mismatches < 2)
        except FaultError as fault:
            if pause is None or not fault.again:
                wrong = Wrong(fault.expected or "the file", fault.found)
                raise _error(
                    f"{published.file} could not be downloaded from "
                    f"{shown_url(published)}: expected {wrong.expected}, found "
                    f"{wrong.found}; try again later, or place the file by hand as "
                    f"{path}{_unless_changed(published)}.",
                    published,
                    path,
                    wrong,
                ) from fault
            time.sleep(pause)
        except OSError as error:
            raise _unwritable(published, path, error) from error
        else:
            now = (_place(path), stat.st_size, stat.st_mtime_ns, published.hash)
            _remember(published, _Stamp(*now, hashes.sha256))
            return


def _sweep(path: Path) -> None:
    """Remove what killed processes left: of this file, which is locked, or old."""
    for part in path.parent.glob(".*.part"):
        with suppress(OSError):
            age = time.time() - part.stat().st_mtime
            if part.name.startswith(f".{path.name}.") or age > DAY:
                part.unlink()


def _unwritable(published: Published, path: Path, error: Exception) -> DownloadError:
    reason = getattr(error, "strerror", None) or error
    return _error(
        f"{path} cannot be written ({reason}): make room or give permission there, set "
        f"CONVZOO_HOME to another folder, or place the file of {shown_url(published)} "
        "there by hand.",
        published,
        path,
    )


def _error(
    message: str, published: Published, path: Path, wrong: Wrong | None = None
) -> DownloadError:
    expected, found = wrong or (published.hash, "")
    return DownloadError(
        message, url=shown_url(published), path=path, expected=expected, found=found
    )
