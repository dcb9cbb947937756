import json
import os

import numpy as np
import pytest
from click.testing import CliRunner
from loopback import body
from safetensors.numpy import load_file
from test_cli import one_line

import convzoo
from convzoo.commands import weights as weights_module
from convzoo.commands.weights import weights
from convzoo.pretrained import loading
from convzoo.pretrained.record import shipped_folder
from convzoo.pretrained.records import RECORDS, list_weights

pytestmark = pytest.mark.usefixtures("home")

# The smallest file that is published, without a hash; so any bytes will do.
SMALL = ("mobilenet", "imagenet", "--option", "alpha=0.25", "--size", "128", "--no-top")
FILE = "mobilenet_2_5_128_tf_no_top.h5"
SMALL_PATH = f"/tensorflow/keras-applications/mobilenet/{FILE}"
CONTENT = bytes(range(256)) * 1000
TIMM = ("mobilenet", "imagenet/timm-ra4_e3600_r224_in1k")
TIMM_PATH = "/timm/mobilenetv1_{}.ra4_e3600_r224_in1k/resolve/main/model.safetensors"


def run(*arguments):
    return CliRunner().invoke(weights, [str(argument) for argument in arguments])


class TestList:
    def test_every_file_has_its_row(self):
        result = run("list")
        assert result.exit_code == 0
        rows = [row.split() for row in result.stdout.splitlines() if row.strip()]
        assert sorted(row[:2] for row in rows[2:]) == sorted(
            [record.model, record.name] for record in RECORDS
        )
        (v2,) = (
            row for row in rows if row[:2] == ["resnet50", "imagenet/torchvision-v2"]
        )
        assert v2[2:] == [
            "v1.5",
            "224",
            "80.86%",
            "95.43%",
            "102.5",
            "BSD-3-Clause",
            "no",
        ]
        assert [row[-1] for row in rows if row[0] == "lenet"] == ["shipped"] * 2

    def test_a_model_chooses(self):
        rows = json.loads(run("list", "xception", "--json").stdout)
        assert {row["model"] for row in rows} == {"xception"}
        assert sorted(row["layout"] for row in rows) == ["keras", "keras", "timm"]
        assert run("list", "unet").stdout == "No weights are published for unet.\n"
        assert run("list", "unet", "--json").stdout == "[]\n"

    def test_the_most_accurate_come_first(self):
        rows = json.loads(run("list", "resnet50", "--json").stdout)
        shares = [row["top1"] for row in rows]
        assert shares == sorted(shares, reverse=True)
        names = list(dict.fromkeys(row["name"] for row in rows))
        assert names == list_weights("resnet50")

    def test_it_tells_what_is_on_this_machine(self, home):
        home.mkdir()
        (home / FILE).write_bytes(CONTENT)
        rows = json.loads(run("list", "mobilenet", "--json").stdout)
        assert [row["path"] for row in rows if row["path"]] == [str(home / FILE)]
        (row,) = (row for row in run("list").stdout.splitlines() if " yes " in row)
        assert "alpha=0.25, no top" in row

    def test_a_narrow_terminal_keeps_what_tells_files_apart(self, monkeypatch):
        monkeypatch.setattr("convzoo.terminal.WIDTH", 90)
        header = run("list").stdout.splitlines()[1].split()
        for title in ("Model", "Weights", "Options", "Top-1", "Cached"):
            assert title in header
        assert "Top-5" not in header


class TestShow:
    def test_what_is_known(self):
        result = run("show", *SMALL)
        assert result.exit_code == 0
        for line in (
            "options        alpha=0.25",
            "input_shape    128, 128, 3",
            "include_top    False",
            "bytes          874,176",
            "hash           none is published: the first download's SHA-256 binds",
            "path           not on this machine",
        ):
            assert f"\n{line}" in result.stdout

    def test_as_json(self):
        record = convzoo.weights_info("resnet50", "imagenet/torchvision-v2")
        data = json.loads(run("show", "resnet50", record.name, "--json").stdout)
        assert data["hash"] == record.hash
        assert data["mean"] == list(record.mean)
        assert data["commercial"] is True

    def test_a_variant_chooses(self):
        result = run("show", "lenet", "mnist", "--variant", "paper")
        assert f"path           {shipped_folder()}/lenet-paper-mnist" in result.stdout


class TestDownload:
    def test_a_file_comes_and_its_path_is_printed(self, server, home):
        server.serve(SMALL_PATH, body(CONTENT))
        result = run("download", *SMALL)
        assert (result.exit_code, result.stdout) == (0, f"{home / FILE}\n")
        assert (home / FILE).read_bytes() == CONTENT
        assert run("path", *SMALL).stdout == result.stdout
        assert server.requests == [SMALL_PATH]

    def test_force_replaces_what_is_damaged(self, server, home):
        server.serve(SMALL_PATH, body(CONTENT))
        run("download", *SMALL)
        (home / FILE).write_bytes(CONTENT[:-1])
        result = run("download", *SMALL)
        assert result.exit_code == 1
        one_line(result, str(home / FILE), "--force")
        assert run("download", *SMALL, "--force").exit_code == 0
        assert (home / FILE).read_bytes() == CONTENT

    def test_one_that_fails_does_not_stop_the_others(self, server, home):
        server.serve(TIMM_PATH.format("125"), body(bytes(7_000_000)))
        result = run("download", *TIMM, "--all")
        assert result.exit_code == 1
        assert result.stdout.startswith(f"{home}/timm-mobilenetv1_125.")
        assert result.stderr.count("\n") == 1
        assert "HTTP status 404" in result.stderr

    def test_what_is_wrong_is_one_line(self, server, home):
        server.serve("/models/resnet18-f37072fd.pth", body(CONTENT))
        result = run("download", "resnet18", "imagenet")
        assert result.exit_code == 1
        one_line(result, "expected sha256-prefix:f37072fd, found sha256:")
        assert not (home / "resnet18-f37072fd.pth").exists()

    def test_a_non_commercial_licence_must_be_named_and_is_told(self, server):
        run("download", "resnet50", "--all")
        assert len(server.requests) > 10
        assert not any("fb_" in request for request in server.requests)
        result = run("download", "resnet50", "imagenet/timm-fb_swsl_ig1b_ft_in1k")
        note = "Note: resnet50/imagenet/timm-fb_swsl_ig1b_ft_in1k is licensed CC-BY-NC"
        assert result.stderr.startswith(note)
        assert "fb_swsl" in server.requests[-1]

    def test_shipped_weights_are_there(self, server):
        result = run("download", "lenet", "mnist", "--force")
        assert result.stdout == f"{shipped_folder()}/lenet-modern-mnist.safetensors\n"
        assert server.requests == []


class TestVerify:
    def test_the_good_are_printed_and_the_bad_told(self, server, home):
        server.serve(SMALL_PATH, body(CONTENT))
        run("download", *SMALL)
        result = run("verify")
        assert result.exit_code == 0
        assert len(result.stdout.splitlines()) == 3  # with LeNet's
        stat = (home / FILE).stat()
        (home / FILE).write_bytes(CONTENT[::-1])
        os.utime(home / FILE, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert run("path", *SMALL).exit_code == 0  # size and time are the same
        for arguments in ((), ("mobilenet",), ("mobilenet", "imagenet")):
            result = run("verify", *arguments)
            assert result.exit_code == 1
            assert f"Error: {home / FILE} is not the published file" in result.stderr
        assert run("verify", "lenet", "mnist").exit_code == 0
        one_line(run("verify", *TIMM), f"No file of {'/'.join(TIMM)} is in the cache")

    def test_what_another_library_left_is_passed_over(self, tmp_path):
        folder = tmp_path / "user/.cache/torch/hub/checkpoints"
        folder.mkdir(parents=True)
        (folder / "resnet18-f37072fd.pth").write_bytes(CONTENT)
        result = run("verify", "resnet18")
        assert (result.exit_code, result.output) == (0, "")

    @pytest.mark.parametrize("name", [(), ("imagenet",)])
    def test_nothing_there(self, name):
        result = run("verify", "resnet50", *name)
        assert result.exit_code == 1
        one_line(result, "resnet50", "convzoo weights download")


@pytest.mark.filterwarnings("ignore::convzoo.models.plan.FreshHeadWarning")
class TestConvert:
    def test_what_is_written_is_the_same(self, tmp_path):
        source = shipped_folder() / "lenet-paper-mnist.safetensors"
        output = tmp_path / "a.safetensors"
        result = run(
            "convert", source, output, "--model", "lenet", "--variant", "paper"
        )
        assert (result.exit_code, result.stdout) == (0, f"Wrote {output}\n")
        assert output.read_bytes() == source.read_bytes()

    def test_to_another_library(self, tmp_path):
        model = convzoo.mobilenet(alpha=0.25, variant="torch")
        source, output = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
        convzoo.save_weights(model, source)
        options = ("--variant", "torch", "--option", "alpha=0.25")
        to_timm = ("--model", "mobilenet", "--layout", "timm")
        result = run("convert", source, output, *to_timm, *options)
        assert result.exit_code == 0, result.output
        written = load_file(output)["classifier.weight"]
        kernel = next(v for v in model.get_weights()[::-1] if v.ndim == 2)
        np.testing.assert_array_equal(written, kernel.T)

    def test_what_does_not_work_is_one_line(self, tmp_path):
        source = shipped_folder() / "lenet-modern-mnist.safetensors"
        output = tmp_path / "a.safetensors"
        damaged = tmp_path / "damaged.pth"
        damaged.write_bytes(source.read_bytes()[:-1])
        lenet = "--model=lenet"
        for code, words, arguments in (
            (1, "damaged.pth is not a weight file", (damaged, output, lenet)),
            (2, "did you mean 'mnist'?", ("mnits", output, lenet)),
            (
                2,
                "no argument 'weights'",
                (damaged, output, lenet, "--option=weights=a"),
            ),
            (
                2,
                "no argument 'include_top'",
                ("a.h5", output, "--model=unet", "--no-top"),
            ),
            (
                2,
                "--layout='tim' is not known, did you mean 'timm'?",
                (source, output, lenet, "--layout", "tim"),
            ),
            (
                2,
                "no head for 3 classes",
                ("mnist", output, lenet, "--option=classes=3"),
            ),
            (2, "--model", (source, output)),
            (2, "did you mean 'lenet'?", (source, output, "--model", "lenett")),
            (2, "no argument 'a'", (source, output, "--model=lenet", "--option=a=1")),
            (2, "end in .safetensors", (source, tmp_path / "a.h5", "--model", "lenet")),
            (1, "no folder", (source, tmp_path / "b/a.safetensors", "--model=lenet")),
            (1, "a.pth", (tmp_path / "a.pth", output, "--model", "lenet")),
        ):
            result = run("convert", *arguments)
            assert (result.exit_code, result.stdout) == (code, ""), words
            assert words in result.stderr
            assert "Traceback" not in result.stderr
        assert list(tmp_path.glob("*.safetensors")) == []

    def test_a_head_is_left_out_and_never_made_up(self, tmp_path):
        whole = shipped_folder() / "lenet-modern-mnist.safetensors"
        body, again = tmp_path / "body.safetensors", tmp_path / "again.safetensors"
        assert run("convert", whole, body, "--model=lenet", "--no-top").exit_code == 0
        kept, tensors = load_file(body), load_file(whole)
        assert 0 < len(kept) < len(tensors)
        for name, array in kept.items():
            np.testing.assert_array_equal(array, tensors[name])
        result = run("convert", body, again, "--model=lenet")
        assert result.exit_code == 2
        one_line(result, f"{body} has no head for 10 classes: pass --no-top")
        assert not again.exists()
        result = run("convert", body, again, "--model=lenet", "--no-top")
        assert result.exit_code == 0
        assert load_file(again).keys() == kept.keys()

    def test_a_non_commercial_licence_is_told(self, server, tmp_path):
        name = "imagenet/timm-fb_swsl_ig1b_ft_in1k"
        result = run("convert", name, tmp_path / "a.safetensors", "--model=resnet50")
        assert result.exit_code == 1
        note, error = result.stderr.splitlines()
        assert note.startswith(f"Note: resnet50/{name} is licensed CC-BY-NC")
        assert "HTTP status 404" in error
        assert server.requests

    def test_the_layouts_are_those_that_are_written(self):
        assert weights_module.LAYOUTS == loading.LAYOUTS


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("list", "resnt50"), "did you mean 'resnet50'?"),
        (("show", "resnet50", "imagnet"), "did you mean 'imagenet'?"),
        (("show", "lenet", "mnist", "--variant", "papr"), "did you mean 'paper'?"),
        (("show", "mobilenet", "imagenet", "--option", "alpha"), "found 'alpha'."),
        (("show", "mobilenet", "imagenet", "--option", "alpa=1"), "mean 'alpha'?"),
        (
            ("path", "mobilenet", "imagenet", "--option", "alpha=2"),
            "found {'alpha': 2}",
        ),
        (("path", "unet", "imagenet"), "No weights are published for unet"),
        (("download", "resnet50"), "say --all"),
        (("download", "lenet", "mnist", "--all", "--no-top"), "--all means every file"),
        (("verify", "resnet50", "imagnet"), "did you mean 'imagenet'?"),
    ],
)
def test_misuse_is_one_line(arguments, words):
    result = run(*arguments)
    assert result.exit_code == 2
    one_line(result, words)


def test_a_mirror_that_is_none_is_one_line(monkeypatch):
    monkeypatch.setenv("CONVZOO_MIRROR", "weights.invalid")
    result = run("path", *SMALL)
    assert result.exit_code == 1
    one_line(result, "CONVZOO_MIRROR")
