"""The files that a picture is written to: their names, and what is left beside them."""

import stat
from pathlib import Path

import pytest

from convzoo.inspect.formats import drawing_file, write


@pytest.mark.parametrize("path", [123, b"x.svg", [], None, False])
def test_what_is_no_path(path):
    with pytest.raises(TypeError, match=r"\(to_file\) must be a path .*, found ") as e:
        drawing_file(path)
    assert repr(path) in str(e.value)


@pytest.mark.parametrize("name", ["a\0b.svg", "a\ud800.svg"])
def test_names_that_no_file_has(name):
    with pytest.raises(ValueError, match=r"'a\\.*svg' has a character that no"):
        drawing_file(name)


def test_names_of_any_suffix_and_length(tmp_path):
    assert drawing_file(Path("a.SVG")) == drawing_file("a.SVG") == Path("a.SVG")
    for length in (240, 255):
        file = drawing_file(tmp_path / f"{'n' * (length - 4)}.svg")
        write(file, b"first")
        write(file, b"second")
        assert file.read_bytes() == b"second"
    assert len(list(tmp_path.iterdir())) == 2
    file = tmp_path / f"{'n' * 252}.svg"
    with pytest.raises(OSError, match=r"n.svg' cannot be written: File name too long"):
        write(file, b"")
    assert len(list(tmp_path.iterdir())) == 2


def test_others_may_read_the_file_as_any_other(tmp_path):
    file, usual = tmp_path / "a.svg", tmp_path / "usual"
    write(file, b"")
    usual.write_bytes(b"")
    assert stat.S_IMODE(file.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)


def test_nothing_is_left_where_writing_fails(tmp_path):
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(OSError, match=r"folder.svg' cannot be written: Is a directory"):
        write(tmp_path / "folder.svg", b"")
    assert [file.name for file in tmp_path.iterdir()] == ["folder.svg"]
    (tmp_path / "file").write_bytes(b"")
    # Neither can the temporary file be removed.
    with pytest.raises(OSError, match=r"a.svg' cannot be written: Not a directory"):
        write(tmp_path / "file" / "a.svg", b"")
