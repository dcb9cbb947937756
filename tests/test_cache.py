import hashlib
import io
import json
import os
import pickle
import re
import resource
import signal
import subprocess
import sys
import time
from typing import NamedTuple

import pytest
from bound import BOUND
from loopback import (
    Loopback,
    body,
    cut,
    endless,
    hang,
    malformed,
    redirect,
    slow,
    status,
    truncated,
)

from convzoo.pretrained import cache, download
from convzoo.pretrained.cache import DownloadError, fetch

pytestmark = pytest.mark.usefixtures("home")

CONTENT = bytes(range(256)) * 400
OTHER = CONTENT[::-1]
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PATH = "/models/net.pth"
# What a process needs to ask for a file.
CHILD = """
import json, sys, types
from convzoo.pretrained import cache
print(cache.fetch(types.SimpleNamespace(**json.loads(sys.argv[1]))))
"""


class File(NamedTuple):
    url: str | None = f"https://weights.invalid{PATH}"
    file: str = "net-1.pth"
    hash: str | None = f"sha256:{SHA256}"
    bytes: int | None = len(CONTENT)


FILE = File()
HASHLESS = FILE._replace(hash=None)
SILENT, FALLS_SILENT = hang(), hang(CONTENT)


def refused(file=FILE, **arguments):
    with pytest.raises(DownloadError) as caught:
        fetch(file, **arguments)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return caught.value


def hurry(monkeypatch, fault):
    if fault in {SILENT, FALLS_SILENT}:
        monkeypatch.setattr(download, "READ_TIMEOUT", 0.2)


def leftovers(home):
    """Return what a download that failed has left behind."""
    return [path for path in home.rglob("*") if path.suffix != ".lock"]


def start(file=FILE, before=(), **settings):
    return subprocess.Popen(
        [*before, sys.executable, "-c", CHILD, json.dumps(file._asdict())],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **settings,
    )


def finish(process):
    output, errors = process.communicate(timeout=30)
    return process.returncode, output.strip(), errors


def until(condition):
    for _ in range(1000):
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError("it never happened")


class TestDownload:
    def test_the_file_comes_once_and_complete(self, server, home):
        server.serve(PATH, body(CONTENT))
        assert cache.cached(FILE) is None
        path = fetch(FILE)
        assert path == home / "net-1.pth" == cache.cached(FILE)
        assert path.read_bytes() == CONTENT
        assert fetch(FILE) == path == cache.verify(FILE)
        assert server.requests == [PATH]
        names = {path.name for path in leftovers(home)}
        assert names == {"net-1.pth", "net-1.pth.json"}

    @pytest.mark.parametrize(
        "fault",
        [
            truncated(CONTENT[:5000]),
            cut(CONTENT[:5000]),
            SILENT,
            FALLS_SILENT,
            body(OTHER),
            body(CONTENT[:5000], length=False),
            *map(status, (500, 503, 429)),
        ],
    )
    def test_what_may_pass_is_tried_again(self, server, home, monkeypatch, fault):
        hurry(monkeypatch, fault)
        server.serve(PATH, fault, body(CONTENT))
        assert fetch(FILE).read_bytes() == CONTENT
        assert len(server.requests) == 2
        assert len(leftovers(home)) == 2

    @pytest.mark.parametrize(
        ("fault", "attempts", "found"),
        [
            (status(404), 1, "HTTP status 404 (Not Found)"),
            (status(403), 1, "HTTP status 403 (Forbidden)"),
            (status(410), 1, "HTTP status 410 (Gone)"),
            (status(500), 4, "HTTP status 500 (Internal Server Error)"),
            (truncated(CONTENT), 4, "102400 bytes read, 102400 more expected"),
            (cut(CONTENT), 4, "Connection reset by peer"),
            (SILENT, 4, "Read timed out"),
            (FALLS_SILENT, 4, "Read timed out"),
            (body(OTHER), 2, f"sha256:{hashlib.sha256(OTHER).hexdigest()}"),
            (endless, 1, "more than 409600 bytes"),
            (malformed, 1, "'many'"),
            (redirect(PATH), 1, "Exceeded 30 redirects"),
            (redirect("ftp://weights.invalid/"), 1, "No connection adapters"),
        ],
    )
    def test_what_stays_is_told_and_leaves_nothing(
        self, server, home, monkeypatch, fault, attempts, found
    ):
        hurry(monkeypatch, fault)
        server.serve(PATH, fault)
        error = refused()
        if "redirects" not in found:
            assert len(server.requests) == attempts
        assert found in error.found
        for word in (found, server.url + PATH, str(home / FILE.file)):
            assert word in str(error)
        assert (error.url, error.path) == (server.url + PATH, home / FILE.file)
        assert leftovers(home) == []
        server.serve(PATH, body(CONTENT))
        assert fetch(FILE).read_bytes() == CONTENT

    def test_nobody_answers(self, home, monkeypatch):
        with Loopback() as server:
            monkeypatch.setenv("CONVZOO_MIRROR", server.url)
        assert "Connection refused" in refused().found
        assert leftovers(home) == []

    def test_the_pauses_grow(self, server, monkeypatch):
        server.serve(PATH, status(500))
        monkeypatch.setattr(cache, "PAUSES", (0.05, 0.1, 0.2))
        begun = time.monotonic()
        refused()
        assert time.monotonic() - begun > 0.35

    def test_redirects_are_followed(self, server):
        server.serve(PATH, redirect("/far/away"))
        server.serve("/far/away", body(CONTENT))
        assert fetch(FILE).read_bytes() == CONTENT

    @pytest.mark.parametrize(
        "expected",
        [
            f"sha256:{SHA256.upper()}",
            f"md5:{hashlib.md5(CONTENT).hexdigest()}",
            f"sha1:{hashlib.sha1(CONTENT).hexdigest()}",
            f"sha256-prefix:{SHA256[:8]}",
        ],
    )
    def test_every_kind_of_hash(self, server, expected):
        file = FILE._replace(hash=expected)
        server.serve(PATH, body(OTHER), body(OTHER), body(CONTENT))
        error = refused(file)
        assert error.expected == expected
        kind = expected.partition(":")[0].removesuffix("-prefix")
        assert error.found == f"{kind}:{hashlib.new(kind, OTHER).hexdigest()}"
        assert fetch(file).read_bytes() == CONTENT

    def test_a_whole_hash_is_no_prefix(self, server):
        server.serve(PATH, body(CONTENT))
        refused(FILE._replace(hash=f"sha256:{SHA256[:8]}"))

    def test_a_terminal_sees_a_bar(self, server, monkeypatch, capsys):
        server.serve(PATH, body(CONTENT))
        fetch(FILE)
        assert capsys.readouterr().err == ""
        server.serve(PATH, slow(CONTENT, 0.3))
        monkeypatch.setattr(sys, "stderr", _Terminal())
        fetch(FILE, force=True)
        assert re.search(r"net-1.pth: +[1-9]\d*%", sys.stderr.getvalue())

    def test_errors_travel_between_processes(self):
        error = pickle.loads(pickle.dumps(refused(FILE._replace(url="file:///a"))))
        assert (str(error)[:9], error.url) == ("net-1.pth", "file:///a")

    def test_what_is_published_nowhere(self):
        with pytest.raises(ValueError, match="no url"):
            fetch(FILE._replace(url=None))


class _Terminal(io.StringIO):
    def isatty(self):
        return True


class TestWithoutPublishedHash:
    def test_the_first_download_binds_the_later(self, server, home):
        server.serve(PATH, body(CONTENT), body(OTHER))
        path = fetch(HASHLESS)
        path.unlink()
        error = refused(HASHLESS)
        assert error.expected == f"sha256:{SHA256}"
        assert f"delete {home / 'net-1.pth.json'}" in str(error)
        assert not path.exists()
        path.write_bytes(OTHER)
        assert error.expected == refused(HASHLESS).expected
        (home / "net-1.pth.json").unlink()
        assert fetch(HASHLESS).read_bytes() == OTHER

    def test_so_it_does_a_weak_one(self, server):
        weak = FILE._replace(hash="sha256-prefix:")  # as weak as can be
        server.serve(PATH, body(CONTENT), body(OTHER))
        fetch(weak)
        assert refused(weak, force=True).expected == f"sha256:{SHA256}"

    def test_a_page_in_its_place_is_not_recorded(self, server, home):
        server.serve(PATH, body(b"<html>Please log in.</html>"))
        error = refused(HASHLESS)
        assert (error.expected, error.found) == ("about 102400 bytes", "27 bytes")
        assert leftovers(home) == []


class TestProcesses:
    def test_two_at_once_download_once(self, server):
        server.serve(PATH, slow(CONTENT, 1.0))
        results = [finish(process) for process in [start(), start()]]
        assert [code for code, _, _ in results] == [0, 0], results
        assert server.requests == [PATH]

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
    def test_stopped_in_the_middle(self, server, home, number):
        server.serve(PATH, hang(CONTENT), body(CONTENT))
        process = start()
        until(lambda: any(path.stat().st_size for path in home.glob(".*.part")))
        process.send_signal(number)
        code, _, errors = finish(process)
        assert code == -number
        if number == signal.SIGINT:
            assert errors.endswith("\nKeyboardInterrupt\n")
            assert leftovers(home) == []
        else:
            (part,) = leftovers(home)
            assert part.suffix == ".part"
        assert fetch(FILE).read_bytes() == CONTENT
        assert len(leftovers(home)) == 2

    def test_only_leftovers_are_swept(self, server, home):
        home.mkdir()
        old, new = home / ".a.pth.0.part", home / ".b.pth.0.part"
        for part in (old, new):
            part.touch()
        os.utime(old, (time.time() - 2 * cache.DAY,) * 2)
        server.serve(PATH, body(CONTENT))
        fetch(FILE)
        assert (old.exists(), new.exists()) == (False, True)

    def test_a_full_disk(self, server, home):
        server.serve(PATH, body(CONTENT))
        limit = len(CONTENT) // 2
        code, _, errors = finish(
            start(
                preexec_fn=lambda: resource.setrlimit(
                    resource.RLIMIT_FSIZE, (limit, limit)
                )
            )
        )
        assert code == 1
        told = f"DownloadError: {home / FILE.file} cannot be written (File too large)"
        assert told in errors.splitlines()[-1]
        assert len(server.requests) == 1
        assert leftovers(home) == []
        assert fetch(FILE).read_bytes() == CONTENT

    def test_a_read_only_cache(self, server, home):
        server.serve(PATH, body(CONTENT))
        home.mkdir(mode=0o555)
        try:
            code, _, errors = finish(start(before=BOUND))
            assert code == 1
            told = f"DownloadError: {home / FILE.file} cannot be written (Permission"
            assert told in errors.splitlines()[-1]
            home.chmod(0o755)
            (home / FILE.file).write_bytes(CONTENT)
            home.chmod(0o555)
            assert finish(start(before=BOUND)) == (0, str(home / FILE.file), "")
            assert [path.name for path in home.iterdir()] == [FILE.file]
            (home / FILE.file).chmod(0)
            code, _, errors = finish(start(before=BOUND))
            assert "cannot be read (Permission denied)" in errors.splitlines()[-1]
        finally:
            home.chmod(0o755)
        assert server.requests == []

    def test_what_a_read_only_cache_holds_is_hashed_once(self, home):
        place(home / FILE.file)
        # A folder in the place of the stamp takes no file, not even from root.
        (home / "net-1.pth.json").mkdir()
        fetch(FILE)
        overwrite_unseen(home / FILE.file)
        fetch(FILE)
        with pytest.raises(DownloadError):
            cache.verify(FILE)


def place(path, content=CONTENT):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def overwrite_unseen(path, content=OTHER):
    """Change a file and keep its size and time."""
    stat = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


class TestFilesInPlace:
    def test_one_placed_by_hand_is_used(self, server, home):
        path = place(home / FILE.file)
        assert fetch(FILE) == path
        assert server.requests == []

    def test_a_wrong_one_is_told_kept_and_replaced_by_force(self, server, home):
        server.serve(PATH, body(CONTENT))
        path = place(home / FILE.file, CONTENT[:-1])
        error = refused()
        for word in (str(path), SHA256, error.found, "--force", server.url + PATH):
            assert word in str(error)
        assert error.found == f"sha256:{hashlib.sha256(CONTENT[:-1]).hexdigest()}"
        assert path.read_bytes() == CONTENT[:-1]
        assert server.requests == []
        assert fetch(FILE, force=True).read_bytes() == CONTENT

    def test_a_changed_file_is_noticed_a_touched_one_hashed(self, home):
        path = place(home / FILE.file)
        fetch(FILE)
        os.utime(path, ns=(0, 1))
        fetch(FILE)
        assert json.loads((home / "net-1.pth.json").read_text())["mtime_ns"] == 1
        path.write_bytes(OTHER)
        refused()

    def test_an_unchanged_file_is_not_hashed_but_to_verify(self, home):
        path = place(home / FILE.file)
        fetch(FILE)
        overwrite_unseen(path)
        assert fetch(FILE) == path
        with pytest.raises(DownloadError, match="is not the published file"):
            cache.verify(FILE)

    def test_a_new_published_hash_is_looked_at(self, home):
        place(home / FILE.file)
        fetch(FILE)
        refused(FILE._replace(hash=f"sha256:{hashlib.sha256(OTHER).hexdigest()}"))

    def test_a_damaged_stamp_counts_for_nothing(self, home):
        place(home / FILE.file)
        for text in ("{", "[]", '{"place": 1}', ""):
            (home / "net-1.pth.json").write_text(text)
            assert fetch(FILE) == home / FILE.file

    def test_a_moved_cache_needs_no_hashing(self, home, monkeypatch):
        place(home / FILE.file)
        fetch(FILE)
        overwrite_unseen(home / FILE.file)
        moved = home.rename(home.with_name("moved"))
        monkeypatch.setenv("CONVZOO_HOME", str(moved))
        assert fetch(FILE) == moved / FILE.file


class TestOtherLibraries:
    BLOB = "user/.cache/huggingface/hub/models--timm--net.a1/blobs"
    HUB = FILE._replace(url="https://huggingface.co/timm/net.a1/resolve/main/a.bin")

    def on_hub(self, tmp_path, content=CONTENT, blob=SHA256):
        blob = place(tmp_path / self.BLOB / blob, content)
        path = blob.parent.parent / "snapshots" / "0123abcd" / "a.bin"
        path.parent.mkdir(parents=True)
        path.symlink_to(blob)
        return path

    @pytest.mark.parametrize(
        ("where", "variable", "inside"),
        [
            (".cache/torch", "TORCH_HOME", "hub/checkpoints"),
            (".keras", "KERAS_HOME", "models"),
        ],
    )
    def test_torch_and_keras(
        self, tmp_path, monkeypatch, server, where, variable, inside
    ):
        path = place(tmp_path / "user" / where / inside / "net.pth")
        assert fetch(FILE) == path == cache.cached(FILE) == cache.verify(FILE)
        moved = place(tmp_path / "moved" / inside / "net.pth")
        monkeypatch.setenv(variable, str(tmp_path / "moved"))
        assert fetch(FILE) == moved
        assert server.requests == []

    def test_the_hub(self, tmp_path, monkeypatch, server):
        path = self.on_hub(tmp_path)
        assert fetch(self.HUB) == path == cache.cached(self.HUB)
        moved = (tmp_path / "user/.cache/huggingface").rename(tmp_path / "moved")
        monkeypatch.setenv("HF_HOME", str(moved))
        assert cache.cached(self.HUB) is None  # the link points to where it was
        path = moved / path.relative_to(tmp_path / "user/.cache/huggingface")
        path.unlink()
        path.symlink_to(path)
        assert cache.cached(self.HUB) is None
        path.unlink()
        place(path)
        assert fetch(self.HUB) == path
        assert server.requests == []

    def test_a_wrong_file_is_passed_over(self, tmp_path, server):
        server.serve(PATH, body(CONTENT))
        place(tmp_path / "user/.cache/torch/hub/checkpoints/net.pth", CONTENT[:-1])
        assert fetch(FILE).parent == cache.folder()

    def test_without_a_published_hash_the_hubs_own_counts(self, tmp_path, server, home):
        server.serve("/timm/net.a1/resolve/main/a.bin", status(404))
        file = self.HUB._replace(hash=None)
        self.on_hub(tmp_path, blob="0" * 40)
        assert cache.cached(file) is None
        place(tmp_path / self.BLOB / SHA256)
        link = tmp_path / self.BLOB / "../snapshots/0123abcd/a.bin"
        link.unlink()
        link.symlink_to(tmp_path / self.BLOB / SHA256)
        assert fetch(file).read_bytes() == CONTENT
        overwrite = tmp_path / self.BLOB / SHA256
        overwrite.write_bytes(OTHER)
        (home / "net-1.pth.json").unlink()
        refused(file)

    def test_what_cannot_be_verified_is_not_used(self, tmp_path, server):
        place(tmp_path / "user/.keras/models/net.pth", OTHER)
        server.serve(PATH, body(CONTENT))
        assert cache.cached(HASHLESS) is None
        assert fetch(HASHLESS).read_bytes() == CONTENT


class TestEnvironment:
    def test_offline_asks_nobody(self, server, home, monkeypatch):
        server.serve(PATH, body(CONTENT))
        monkeypatch.setenv("CONVZOO_OFFLINE", "1")
        for arguments in ({}, {"force": True}):
            error = refused(**arguments)
            for word in ("CONVZOO_OFFLINE=1", server.url + PATH, home / FILE.file):
                assert str(word) in str(error)
        assert server.requests == []
        assert not home.exists()
        place(home / FILE.file)
        assert fetch(FILE) == home / FILE.file

    @pytest.mark.parametrize("value", ["", "0"])
    def test_zero_is_online(self, server, monkeypatch, value):
        server.serve(PATH, body(CONTENT))
        monkeypatch.setenv("CONVZOO_OFFLINE", value)
        assert fetch(FILE).read_bytes() == CONTENT

    def test_a_mirror_has_a_base(self, server, monkeypatch):
        mirror = server.url.replace("//", "//me:secret@") + "/base/"
        monkeypatch.setenv("CONVZOO_MIRROR", mirror)
        file = FILE._replace(url=f"{FILE.url}?download=true")
        error = refused(file)
        assert server.requests == [f"/base{PATH}?download=true"]
        assert "secret" not in str(error) + error.url
        server.serve(f"/base{PATH}", body(CONTENT))
        assert fetch(file).read_bytes() == CONTENT

    @pytest.mark.parametrize("mirror", ["weights.invalid", "ftp://a", "http:///a"])
    def test_a_mirror_that_is_none(self, monkeypatch, mirror):
        monkeypatch.setenv("CONVZOO_MIRROR", mirror)
        with pytest.raises(ValueError, match=re.escape(f"found {mirror!r}.")):
            fetch(FILE)

    def test_proxies_are_used(self, server, monkeypatch):
        monkeypatch.delenv("CONVZOO_MIRROR")
        monkeypatch.setenv("HTTP_PROXY", server.url)
        server.serve(PATH, body(CONTENT))
        file = FILE._replace(url=f"http://weights.invalid{PATH}")
        assert fetch(file).read_bytes() == CONTENT
        assert server.requests == [file.url]

    def test_the_usual_folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("CONVZOO_HOME", "")
        assert cache.folder() == tmp_path / "user" / ".cache" / "convzoo"
        monkeypatch.setenv("CONVZOO_HOME", "~/zoo")
        assert cache.folder() == tmp_path / "user" / "zoo"
