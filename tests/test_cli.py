import functools
import io
import json
import os
import pty
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bound import BOUND
from click.testing import CliRunner

import convzoo
from convzoo.catalog import CATALOG
from convzoo.cli import app
from convzoo.terminal import with_progress

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples" / "images"


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def start(*arguments, stderr=subprocess.PIPE, before=()):
    """Run the command as its own process, its environment asking for no log level."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("TF_CPP")}
    return subprocess.Popen(
        [*before, sys.executable, "-m", "convzoo", *map(str, arguments)],
        cwd=ROOT,
        env=clean,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def finish(process):
    output, errors = process.communicate(timeout=120)
    return process.returncode, output, errors


def one_line(result, *words):
    """Assert that stderr is one line with these words, and nothing went to stdout."""
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.startswith("Error: ")
    for word in words:
        assert word in result.stderr


class TestList:
    def test_every_model_has_its_row(self):
        result = run("list")
        assert result.exit_code == 0
        rows = result.stdout.splitlines()
        first_words = [row.split()[0] for row in rows if row.strip()]
        assert [word for word in first_words if word in CATALOG] == list(CATALOG)
        (resnet,) = (row for row in rows if row.split()[:1] == ["resnet50"])
        for text in ("He, Zhang, Ren, Sun, 2016", "v1 ", "25,557,032", "3,858.0 M"):
            assert text in resnet
        (lenet,) = (row for row in rows if row.split()[:1] == ["lenet"])
        assert "32 x 32 x 1" in lenet
        assert lenet.split()[-1] == "mnist"
        assert re.search(r"imagenet and \d+ more *$", resnet)

    def test_a_pattern_chooses(self):
        result = run("list", "vgg*", "--json")
        assert [entry["name"] for entry in json.loads(result.stdout)] == [
            "vgg16",
            "vgg19",
        ]

    def test_json_holds_the_whole_catalogue(self):
        entries = json.loads(run("list", "--json").stdout)
        assert [entry["name"] for entry in entries] == list(CATALOG)
        (lenet,) = (entry for entry in entries if entry["name"] == "lenet")
        assert lenet["weights"] == ["mnist"]
        assert lenet["variants"]["modern"]["trainable"] == 61_706
        assert lenet["variants"]["modern"]["input_shape"] == [32, 32, 1]

    def test_no_match(self):
        result = run("list", "rsnet50")
        assert result.exit_code == 2
        one_line(result, "'rsnet50' fits no model, did you mean 'resnet50'?")


class TestHelp:
    def test_help_lists_the_commands(self):
        result = run("--help")
        assert result.exit_code == 0
        for command in ("list", "summary", "plot", "predict", "weights"):
            assert f"\n  {command} " in result.stdout
            assert run(command, "-h").exit_code == 0

    def test_version(self):
        result = run("--version")
        assert (result.exit_code, result.stdout) == (
            0,
            f"convzoo {convzoo.__version__}\n",
        )


def test_predict_takes_resnet50_unless_told_otherwise(tmp_path, monkeypatch):
    for cache in ("CONVZOO_HOME", "TORCH_HOME", "HF_HOME", "KERAS_HOME"):
        monkeypatch.setenv(cache, str(tmp_path))
    monkeypatch.setenv("CONVZOO_OFFLINE", "1")
    result = run("predict", EXAMPLES / "7.png")
    assert result.exit_code == 1
    one_line(result, "resnet50_weights_tf_dim_ordering_tf_kernels.h5", str(tmp_path))


class TestMisuse:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("summary", "lenett"), "did you mean 'lenet'?"),
            (("plot", "lenett"), "did you mean 'lenet'?"),
            (("summary", "resnet50", "--variant", "v15"), "did you mean 'v1.5'?"),
            (("summary", "lenet", "--input-shape", "64x64"), "found '64x64'"),
            (
                ("summary", "lenet", "--classes", "0"),
                "--classes must .*1, found '0'.",
            ),
            (("summary", "lenet", "--level", "blok"), "--level='blok' .*an 'block'?"),
            (("plot", "lenet", "--level", "neuron"), "accepted: 'stage', 'block', "),
            (("plot", "lenet", "-o", "a.docx"), "'a.docx' must .*, found '.docx'."),
            (("plot", "lenet", "-o", ""), "'' must .*.dot, found no suffix."),
            (("plot",), "MODEL is missing: name one that convzoo list shows."),
            (("plot", "lenet", "--kind", "grap"), "--kind='grap' .*an 'graph'?"),
            (("plot", "lenet", "--kind", "zoo"), "all models: leave 'lenet' out."),
            (("plot", "--kind", "block"), "a block is missing; .*, identity_block, "),
            (("plot", "idblock", "--kind", "block"), "did you mean 'identity_block'?"),
            (("plot", "--kind", "zoo", "--level", "block"), "leave it out for zoo."),
            (
                ("plot", "lenet", "--kind", "architecture", "--level", "layer"),
                "--level",
            ),
            (("plot", "c3", "--kind", "block", "--variant", "v1"), "--variant is for"),
            (
                ("plot", "c3", "--kind", "block", "--input-shape", "8x8x1"),
                "--input-shape is for one model: leave it out for --kind block.",
            ),
            (
                ("plot", "lenet", "--input-shape", "8x8"),
                "--input-shape must be HEIGHTx",
            ),
            (("plot", "expand"), "'expand' is a block: add --kind block."),
            (
                ("plot", "--kind", "zoo", "-o", "a.dot"),
                "'a.dot' must .*pdf, found '.dot'.",
            ),
            (("plot", "c3", "--kind", "block", "-o", "a.dot"), ".pdf, found '.dot'."),
            (("plot", "separable", "--kind", "block", "-o", "a.gif"), "'a.gif' must"),
            (
                ("plot", "lenet", "--kind", "architecture", "-o", "a.DOT"),
                "'a.DOT' must",
            ),
            (("predict", "--top", "x", "a.png"), "--top must be .*1, found 'x'."),
            (("predict", "--top", "0", "a.png"), "--top must be .*1, found '0'."),
            (("predict", "--model", "lenett", "a.png"), "did you mean 'lenet'?"),
            (("predict", "--model", "unet", "a.png"), "models with weights: lenet,"),
            (("predict", "--model", "lenet", "--weights", "mnit", "a.png"), "'mnist'?"),
            (("predict", "--model", "lenet", "--variant", "papr", "a.png"), "'paper'?"),
        ],
    )
    def test_one_line_with_what_is_accepted(self, arguments, words):
        result = run(*arguments)
        assert result.exit_code == 2
        one_line(result, *words.split(".*"))

    @pytest.mark.parametrize(
        "arguments",
        [
            ("predict", "--model", "lenet"),
            ("predict", "--model", "lenet", "--tops", "1", "a.png"),
            ("train",),
        ],
    )
    def test_the_command_line_itself_is_wrong(self, arguments):
        result = run(*arguments)
        assert result.exit_code == 2
        assert "Error: " in result.stderr
        assert "Traceback" not in result.stderr


class TestBadImages:
    """Files told bad by their header; no model is loaded for them."""

    def test_each_is_one_line_and_the_exit_code_1(self, tmp_path):
        (tmp_path / "text.png").write_text("no image")
        (tmp_path / "empty.png").write_bytes(b"")
        (tmp_path / "folder").mkdir()
        paths = [tmp_path / n for n in ("text.png", "empty.png", "none.png", "folder")]
        result = run("predict", "--model", "lenet", *paths)
        assert result.exit_code == 1
        assert result.stdout == ""
        lines = result.stderr.splitlines()
        words = (
            "is not an image",
            "is empty",
            "does not exist",
            "holds no image files",
        )
        for line, path, reason in zip(lines, paths, words, strict=True):
            assert line.startswith(f"Error: {str(path)!r} {reason}")

    def test_json_tells_the_reason(self, tmp_path):
        (tmp_path / "empty.png").write_bytes(b"")
        result = run("predict", "--model", "lenet", "--json", tmp_path)
        (entry,) = json.loads(result.stdout)
        assert entry["image"] == str(tmp_path / "empty.png")
        assert "is empty" in entry["error"]

    def test_files_that_are_no_images_are_noted(self, tmp_path):
        (tmp_path / "empty.png").write_bytes(b"")
        for name in ("a.csv", "b.csv", "c.csv", "d.csv"):
            (tmp_path / name).write_text("")
        result = run("predict", "--model", "lenet", tmp_path)
        note = result.stderr.splitlines()[0]
        assert note.startswith("Note: skipped 4 of the files")
        assert note.endswith("a.csv, b.csv, c.csv, ...")


class TestInspection:
    def test_summary_as_table_and_as_json(self):
        result = run("summary", "lenet", "--level", "layer")
        assert result.exit_code == 0
        assert "61,706" in result.stdout
        shown = run("summary", "mini_vgg", "--classes", "3", "--json")
        assert shown.exit_code == 0
        assert isinstance(json.loads(shown.stdout), dict)

    def test_options_reach_the_model(self):
        result = run("summary", "lenet", "--variant", "paper", "--classes", "4")
        assert result.exit_code == 0
        assert "60,000" in result.stdout
        assert "61,196" in run("summary", "lenet", "--classes", "4").stdout
        larger = run(
            "summary", "resnet18", "--input-shape", "64x96x3", "--classes", "7"
        )
        assert larger.exit_code == 0
        assert "2 x 3" in larger.stdout

    def test_a_shape_too_small_is_misuse(self):
        result = run("summary", "lenet", "--input-shape", "8x8x1")
        assert result.exit_code == 2
        one_line(result, "(8, 8, 1)", "too small")

    def test_plot_writes_and_tells(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        result = run("plot", "lenet")
        assert result.exit_code == 0
        assert result.stdout == "Wrote lenet.svg\n"
        assert "<svg" in (tmp_path / "lenet.svg").read_text()
        result = run("plot", "lenet", "--level", "stage", "-o", tmp_path / "a.dot")
        assert result.exit_code == 0
        assert "digraph" in (tmp_path / "a.dot").read_text()

    @pytest.mark.parametrize(
        ("arguments", "file", "words"),
        [
            (
                *(("lenet", "--kind", "architecture"), "lenet_architecture.svg"),
                ["6@28 x 28"],
            ),
            (("lenet", "--input-shape", "64x48x3"), "lenet.svg", ["64 x 48 x 3"]),
            (("identity_block", "--kind", "block"), "identity_block.svg", ["Figure 5"]),
            (("--kind", "zoo"), "zoo.svg", ["<!-- resnet152 -->", "<!-- alexnet -->"]),
        ],
    )
    def test_plot_of_other_kinds(self, tmp_path, monkeypatch, arguments, file, words):
        monkeypatch.chdir(tmp_path)
        result = run("plot", *arguments)
        assert (result.exit_code, result.stdout) == (0, f"Wrote {file}\n")
        for word in words:
            assert word in (tmp_path / file).read_text()

    def test_plot_into_a_place_that_does_not_exist_fails(self, tmp_path):
        result = run("plot", "lenet", "-o", tmp_path / "none" / "a.svg")
        assert result.exit_code == 1
        one_line(result, "none")
        result = run("plot", "lenet", "-o", tmp_path / "a.bmp")
        assert result.exit_code == 2
        one_line(result, "a.bmp")


class TestProgress:
    def test_a_terminal_sees_a_bar_after_a_second(self, monkeypatch):
        monkeypatch.setattr(sys, "stderr", _Terminal())
        slow = (time.sleep(0.6) or number for number in range(3))
        assert list(with_progress(slow, 3)) == [0, 1, 2]
        assert "Classifying" in sys.stderr.getvalue()

    def test_what_is_quick_or_no_terminal_shows_none(self, monkeypatch):
        monkeypatch.setattr(sys, "stderr", _Terminal())
        assert list(with_progress(iter(range(3)), 3)) == [0, 1, 2]
        assert sys.stderr.getvalue() == ""
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        slow = (time.sleep(0.6) or number for number in range(2))
        assert list(with_progress(slow, 2)) == [0, 1]
        assert sys.stderr.getvalue() == ""


class _Terminal(io.StringIO):
    def isatty(self):
        return True


class TestProcess:
    def test_predict_names_good_images_and_lists_bad_ones(self, tmp_path):
        for name in ("1.png", "7_dark_on_light.png"):
            shutil.copy(EXAMPLES / name, tmp_path)
        (tmp_path / "2.png").write_bytes((EXAMPLES / "6.png").read_bytes()[:900])
        (tmp_path / "5.png").write_bytes(b"")
        code, output, errors = finish(
            start("predict", "--model", "lenet", "--json", "--top", 2, tmp_path)
        )
        # TensorFlow's chatter, too, would be more than these two lines.
        assert errors.count("\n") == 2, errors
        assert "2.png' cannot be read" in errors
        assert "5.png' is empty" in errors
        assert code == 1
        entries = {Path(entry["image"]).name: entry for entry in json.loads(output)}
        assert list(entries) == ["1.png", "2.png", "5.png", "7_dark_on_light.png"]
        assert "cannot be read" in entries["2.png"]["error"]
        for name in ("1.png", "7_dark_on_light.png"):
            best, second = entries[name]["predictions"]
            assert best["label"] == name[0]
            assert best["index"] == int(name[0])
            assert 1 >= best["probability"] > second["probability"] >= 0

    def test_what_may_not_be_read_is_listed_beside_the_good(self, tmp_path):
        locked = tmp_path / "locked"
        locked.mkdir()
        for name in ("7.png", "secret.png", "locked/1.png"):
            shutil.copy(EXAMPLES / "7.png", tmp_path / name)
        names = ("7.png", "secret.png", "locked", "locked/1.png")
        paths = [tmp_path / name for name in names]
        (tmp_path / "secret.png").chmod(0)
        locked.chmod(0)
        try:
            code, output, errors = finish(
                start("predict", "--model", "lenet", *paths, before=BOUND)
            )
        finally:
            locked.chmod(0o700)
        assert code == 1
        assert output.splitlines()[0] == str(paths[0])
        assert output.splitlines()[1].split()[1] == "7"
        secret, folder, inside = errors.splitlines()
        denied = "cannot be read (Permission denied)"
        assert secret.startswith(f"Error: {str(paths[1])!r} {denied}; accepted is")
        assert folder == f"Error: {str(paths[2])!r} {denied}."
        assert inside.startswith(f"Error: {str(paths[3])!r} {denied}; accepted is")

    def test_predict_prints_text_and_nothing_else(self):
        code, output, errors = finish(
            start("predict", "--model", "lenet", "--top", 1, EXAMPLES / "7.png")
        )
        assert (code, errors) == (0, "")
        image, best = output.splitlines()
        assert image == str(EXAMPLES / "7.png")
        assert best.split()[1] == "7"
        assert best.split()[0].endswith("%")

    @pytest.mark.parametrize(
        "arguments",
        [
            *("--help", "list", "plot -h", "plot lenet -o a.docx"),
            "plot lenet --kind architecture -o a.dot",
        ],
    )
    def test_start_is_instant_and_imports_no_framework(self, arguments):
        script = (
            "import sys; sys.argv = ['convzoo', *sys.argv[1].split()]\n"
            "from convzoo.cli import app\n"
            "app(standalone_mode=False)\n"
            "print([m for m in ('keras', 'tensorflow', 'PIL') if m in sys.modules])"
        )
        seconds = []
        for _ in range(3):
            before = _cpu_seconds()
            result = subprocess.run(
                [sys.executable, "-c", script, arguments],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=True,
            )
            seconds.append(_cpu_seconds() - before)
            assert result.stdout.splitlines()[-1] == "[]"
        assert min(seconds) < 0.3

    def test_a_closed_pipe_is_quiet(self):
        with start("list", "--json") as process:
            process.stdout.close()
            assert process.stderr.read() == ""

    @pytest.mark.parametrize("word", ["Loading lenet", "Classifying"])
    def test_ctrl_c_is_quiet(self, word):
        terminal, stderr = pty.openpty()
        process = start("predict", "--model", "lenet", *[EXAMPLES] * 500, stderr=stderr)
        os.close(stderr)
        shown = until(terminal, word)
        process.send_signal(signal.SIGINT)
        code, output, _ = finish(process)
        shown += until(terminal)
        assert (code, output) == (130, "")
        for complaint in ("Traceback", "Error", "Abort"):
            assert complaint not in shown

    def test_ctrl_c_is_quiet_before_keras_is_asked_for(self, monkeypatch):
        interrupt = functools.partial(signal.raise_signal, signal.SIGINT)
        monkeypatch.setattr("convzoo.cli.list_models", lambda _: interrupt())
        result = run("list")
        assert (result.exit_code, result.output) == (130, "")


def until(terminal, word="never shown"):
    """Return what a terminal shows until a word stands there, or to its end."""
    shown = ""
    while word not in shown:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # the process has gone
            break
        if not part:
            break
        shown += part.decode()
    return shown


def _cpu_seconds():
    """Return the processor time of finished child processes; waiting does not count."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
