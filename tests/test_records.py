"""Records of published weights: complete, verified, found by name."""

import dataclasses
import hashlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras.src.applications import (
    inception_v3,
    mobilenet,
    resnet,
    vgg16,
    vgg19,
    xception,
)
from photos import torchvision
from small_nets import equal, refused, tiny
from structure import GOLDEN, skeleton

from convzoo import lenet, load_weights, save_weights
from convzoo.catalog import CATALOG
from convzoo.deferred import without_weights
from convzoo.models.plan import Origin
from convzoo.pretrained import files
from convzoo.pretrained.record import shipped_folder, verified
from convzoo.pretrained.records import (
    RECORDS,
    find,
    list_weights,
    models_with_weights,
    names_weights,
    weights_info,
)

RECORD = weights_info("lenet", "mnist")
SHIPPED = [record for record in RECORDS if record.url is None]
PUBLISHED = [record for record in RECORDS if record.url]
LAYOUTS = {
    layout: [record for record in PUBLISHED if record.layout == layout]
    for layout in ("keras", "torchvision", "timm", "caffe")
}
HASH = re.compile(
    r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}|sha1:[0-9a-f]{40}|sha256-prefix:[0-9a-f]{8,}"
)


def of_file(record):
    return record.file


def test_there_are_as_many_records_as_checkpoints():
    assert [(record.variant, record.name) for record in SHIPPED] == [
        ("modern", "mnist"),
        ("paper", "mnist"),
    ]
    # Seven networks and sixteen MobileNets, each with and without its top.
    assert {layout: len(found) for layout, found in LAYOUTS.items()} == {
        "keras": 2 * (7 + 16),
        "torchvision": 15,
        "timm": 29,
        "caffe": 2,
    }
    assert sum(map(len, LAYOUTS.values())) == len(PUBLISHED)
    assert len({record.file for record in RECORDS}) == len(RECORDS)


@pytest.mark.parametrize("record", RECORDS, ids=of_file)
def test_every_record_is_complete(record):
    entry = CATALOG[record.model]
    assert set(record.variants) <= set(entry.variants)
    assert set(record.options) <= set(inspect.signature(entry.load()).parameters)
    assert record.classes == entry.classes == len(record.labels)
    assert len(record.mean) == len(record.std) == record.input_shape[2]
    assert record.input_shape[0] == record.input_shape[1] == record.crop
    assert record.hash is None or HASH.fullmatch(record.hash)
    assert re.fullmatch(r"[A-Za-z]+[A-Za-z0-9.-]*", record.licence)
    assert record.commercial is ("NC" not in record.licence)
    assert record.top1 is None or 0.5 < record.top1 < (record.top5 or 1) <= 1
    assert hash(record)
    if record.url is None:
        assert record.layout == "convzoo"
        assert HASH.fullmatch(record.hash).group().startswith("sha256:")
        return
    # Caffe's server knows no https: its hashes make the files safe.
    assert record.url.startswith("http:" if record.layout == "caffe" else "https:")
    assert record.url.isascii()
    assert record.source.startswith("https:")
    assert record.resize >= record.crop
    assert record.interpolation in {"bilinear", "bicubic"}
    assert record.layout != "caffe" or record.hash


@pytest.mark.parametrize("record", RECORDS, ids=of_file)
def test_every_record_is_found_by_what_sets_it_apart(record):
    call = {"include_top": record.include_top, "input_shape": record.input_shape}
    facts = (record.model, record.name, record.variant)
    assert find(*facts, record.options, **call) == record
    assert weights_info(*facts, **call, **record.options) == record
    assert record.name in list_weights(record.model)


@pytest.mark.parametrize("model", sorted(set(models_with_weights()) - {"lenet"}))
def test_imagenet_names_weights_of_the_default_variant(model):
    record = find(model, "imagenet")
    assert record.variant == CATALOG[model].default
    assert record.include_top
    assert record.commercial
    assert record.top1
    assert find(model, record.alias) == record
    assert record.alias not in list_weights(model)
    for other in (record for record in RECORDS if record.model == model):
        spelled = other.alias or other.name
        assert spelled.startswith(f"imagenet/{other.layout}")
        assert (other.alias is None) == (other.name != "imagenet")


def test_a_name_means_one_network_size_and_licence():
    for layout, alias in (("keras", "imagenet/keras"), ("caffe", "imagenet/caffe")):
        assert {record.alias for record in LAYOUTS[layout]} == {alias}
    tags = [record.name for record in LAYOUTS["timm"]]
    assert all(tag.startswith("imagenet/timm-") for tag in tags)
    assert [record.file for record in PUBLISHED if not record.commercial] == [
        "timm-resnet50.fb_swsl_ig1b_ft_in1k.safetensors",
        "timm-resnet50.fb_ssl_yfcc100m_ft_in1k.safetensors",
    ]


def test_the_crop_is_seven_eighths_where_nothing_is_published():
    resizes = {224: 256, 192: 219, 160: 183, 128: 146, 299: 342}
    for record in LAYOUTS["keras"]:
        assert record.resize == resizes[record.crop]
    assert [(r.resize, r.crop) for r in LAYOUTS["caffe"]] == [(256, 227), (256, 224)]


def test_every_body_has_its_whole():
    bodies = [record for record in RECORDS if not record.include_top]
    assert len(bodies) == 23
    for body in bodies:
        facts = (body.model, body.name, body.variant, body.options)
        whole = find(*facts, input_shape=body.input_shape)
        assert whole.include_top
        changed = {
            field.name
            for field in dataclasses.fields(body)
            if getattr(body, field.name) != getattr(whole, field.name)
        }
        assert changed - {"hash"} == {"include_top", "url", "file", "bytes"}


def test_sizes_are_those_of_the_networks():
    for record in PUBLISHED:
        expected = 4 * _parameters(record)
        assert record.bytes == pytest.approx(expected, rel=5e-3), record.file


def _parameters(record):
    """Count what a file holds, by the golden manifest of its network."""
    alpha, name = record.options.get("alpha", 1), f"{record.model}-{record.variant}"
    if alpha == 1.25:
        return skeleton("mobilenet", alpha=alpha).count_params()
    if alpha != 1:
        name = f"mobilenet-{alpha}"
    elif record.model in {"googlenet", "inception_v3"} and not record.options:
        name += "-aux"  # the file has side heads
    rows = (GOLDEN / f"{name}.txt").read_text("utf-8").splitlines()
    return sum(
        int(count)
        for layer, _, _, count, *_ in (row.split("  ") for row in rows)
        if record.include_top or not layer.startswith("head_")
    )


@pytest.mark.parametrize("module", [vgg16, vgg19, inception_v3, xception, resnet])
def test_keras_urls_and_hashes_are_those_of_keras(module):
    names = {record.model: record for record in LAYOUTS["keras"] if record.include_top}
    if module is resnet:
        for model in ("resnet50", "resnet101", "resnet152"):
            top, body = resnet.WEIGHTS_HASHES[model]
            file = f"{model}_weights_tf_dim_ordering_tf_kernels"
            _equal_keras(names[model], resnet.BASE_WEIGHTS_PATH + file, top, body)
        return
    top, body = re.findall(r'file_hash="(\w+)"', inspect.getsource(module))
    assert module.WEIGHTS_PATH[:-3] + "_notop.h5" == module.WEIGHTS_PATH_NO_TOP
    model = module.__name__.rpartition(".")[2]
    _equal_keras(names[model], module.WEIGHTS_PATH[:-3], top, body)


def _equal_keras(record, stem, top_hash, body_hash):
    assert (record.url, record.hash) == (f"{stem}.h5", f"md5:{top_hash}")
    assert record.file == record.url.rpartition("/")[2]  # as in Keras' own cache
    body = find(record.model, "imagenet", include_top=False)
    assert (body.url, body.hash) == (f"{stem}_notop.h5", f"md5:{body_hash}")


@pytest.mark.parametrize(
    ("alpha", "side", "top"),
    [(1, 224, True), (0.75, 192, False), (0.5, 160, True), (0.25, 128, False)],
)
def test_keras_asks_for_the_same_mobilenets(monkeypatch, alpha, side, top):
    asked = []

    def get_file(name, url, **_):
        asked.extend((name, url))
        raise ConnectionError

    monkeypatch.setattr(mobilenet.file_utils, "get_file", get_file)
    shape = (side, side, 3)
    with without_weights(), pytest.raises(ConnectionError):
        keras.applications.MobileNet(input_shape=shape, alpha=alpha, include_top=top)
    record = weights_info(
        "mobilenet", "imagenet", alpha=alpha, input_shape=shape, include_top=top
    )
    assert asked == [record.file, record.url]


@pytest.mark.torch
def test_torchvision_records_are_torchvisions():
    models = torchvision().models
    builders = {record.model for record in LAYOUTS["torchvision"]}
    builders |= {"vgg16_bn", "vgg19_bn"}
    published = {
        weights.url: weights
        for builder in builders
        for weights in models.get_model_weights(builder)
        if weights.name != "IMAGENET1K_FEATURES"  # no classifier
    }
    assert {record.url for record in LAYOUTS["torchvision"]} == set(published)
    for record in LAYOUTS["torchvision"]:
        weights = published[record.url]
        preset = weights.transforms()
        scores = weights.meta["_metrics"]["ImageNet-1K"]
        assert record.top1 == pytest.approx(scores["acc@1"] / 100, abs=1e-9)
        assert record.top5 == pytest.approx(scores["acc@5"] / 100, abs=1e-9)
        assert record.bytes == round(weights.meta["_file_size"] * 2**20)
        assert preset.resize_size == [record.resize]
        assert preset.crop_size == [record.crop]
        assert record.interpolation == preset.interpolation.value
        assert (weights.name[-1] == "2") == record.name.endswith("v2")
        if record.model in {"googlenet", "inception_v3"}:
            # The networks take the preset's scaling back (transform_input).
            assert set(record.mean + record.std) == {0.5}
        else:
            assert record.mean == tuple(preset.mean)
            assert record.std == tuple(preset.std)


@pytest.mark.torch
@pytest.mark.parametrize("record", LAYOUTS["timm"], ids=of_file)
def test_timm_records_are_timms(record):
    torchvision()
    import timm  # noqa: PLC0415

    name = record.file.removeprefix("timm-").removesuffix(".safetensors")
    config = timm.get_pretrained_cfg(name.replace("xception-43020ad28.pth", OLD))
    if config.hf_hub_id:
        hub = f"https://huggingface.co/{config.hf_hub_id}"
        assert record.url == f"{hub}/resolve/main/model.safetensors"
        assert record.hash is None
    else:
        assert record.url == config.url
        assert record.hash == "sha256-prefix:43020ad28"
    tag = name.partition(".")[2] if config.hf_hub_id else "tf_in1k"
    assert record.name.removeprefix("imagenet/timm-").removeprefix("bn-") == tag
    assert record.licence.lower() == config.license
    # At the size that timm's table states the accuracy for.
    size, crop = config.input_size, config.crop_pct
    if record.crop != size[1]:
        size, crop = config.test_input_size, config.test_crop_pct
    assert record.input_shape == (size[1], size[2], 3)
    assert record.resize == int(size[1] / crop)
    assert record.interpolation == config.interpolation
    assert (record.mean, record.std) == (config.mean, config.std)
    assert config.num_classes == 1000


OLD = "legacy_xception.tf_in1k"


def test_the_thousand_classes():
    record = find("resnet50", "imagenet")
    assert len(set(record.labels)) == len(set(record.wnids)) == 1000
    assert list(record.wnids) == sorted(record.wnids)
    assert all(re.fullmatch(r"n\d{8}", wnid) for wnid in record.wnids)
    for index, wnid, label in (
        (0, "n01440764", "tench"),
        (207, "n02099601", "golden retriever"),
        (386, "n02504458", "African elephant"),
        (999, "n15075141", "toilet tissue"),
    ):
        assert (record.wnids[index], record.labels[index]) == (wnid, label)
    assert (RECORD.labels, RECORD.wnids) == (tuple("0123456789"), ())
    scores = np.zeros((1, 1000))
    scores[0, [207, 386]] = 0.75, 0.25
    (best,) = record.decode(scores, top=2)
    assert best == [("golden retriever", 207, 0.75), ("African elephant", 386, 0.25)]


@pytest.mark.torch
def test_the_classes_are_in_torchvisions_and_timms_order():
    weights = torchvision().models.ResNet50_Weights.IMAGENET1K_V2
    from timm.data import ImageNetInfo  # noqa: PLC0415

    record = find("resnet50", "imagenet")
    assert list(record.labels) == weights.meta["categories"]
    assert list(record.wnids) == ImageNetInfo("imagenet-1k").label_names()


@pytest.mark.parametrize("record", SHIPPED, ids=of_file)
def test_shipped_weights_are_the_published_ones(record):
    assert record.path() == shipped_folder() / record.file
    assert record.top1 >= 0.9905
    facts = files.read(record.path()).metadata
    assert (facts["builder"], facts["variant"]) == (record.model, record.variant)
    assert facts["classes"] == record.classes
    model = lenet(variant=record.variant)
    report = load_weights(model, record.name)
    assert report.source == str(record.path())
    assert (report.kept, report.unused) == ((), ())


def test_other_weights_come_from_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CONVZOO_HOME", str(tmp_path))
    monkeypatch.setenv("CONVZOO_OFFLINE", "1")
    for variable in ("TORCH_HOME", "HF_HOME", "KERAS_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "none"))
    record = dataclasses.replace(
        find("resnet18", "imagenet"),
        hash="sha256-prefix:" + hashlib.sha256(b"weights").hexdigest()[:8],
        bytes=7,
    )
    with pytest.raises(OSError, match=r"resnet18-f37072fd\.pth is not in the cache"):
        record.path()
    (tmp_path / record.file).write_bytes(b"weights")
    assert record.path() == tmp_path / record.file


def test_a_changed_or_missing_file_is_not_the_published_one(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"weights")
    right = hashlib.sha256(b"weights").hexdigest()
    assert verified(path, right, 7) == path
    wrong = hashlib.sha256(b"WEIGHTS").hexdigest()
    with pytest.raises(
        ValueError, match=f"expected 7 bytes .* {wrong}, found 7 .* {right}"
    ):
        verified(path, wrong, 7)
    with pytest.raises(ValueError, match=r"expected 8 bytes .*, found 7 bytes"):
        verified(path, right, 8)
    with pytest.raises(FileNotFoundError, match=r"gone are missing: reinstall convzoo"):
        verified(tmp_path / "gone", right, 7)


def _record(model, path, **changes):
    save_weights(model, path)
    content = path.read_bytes()
    return dataclasses.replace(
        RECORD,
        file=str(path),
        hash=f"sha256:{hashlib.sha256(content).hexdigest()}",
        bytes=len(content),
        **changes,
    )


def test_a_record_is_loaded_after_its_hash(tmp_path):
    path = tmp_path / "a.safetensors"
    record = _record(model := tiny(), path)
    load_weights(other := tiny(), record)
    assert equal(model, other)
    path.write_bytes(path.read_bytes().replace(b"conv1", b"conv9"))
    refused(tiny(), record, r"a\.safetensors is not the published file: expected")


def test_a_rescaling_inside_the_model_must_be_the_records(tmp_path):
    record = _record(
        tiny(), tmp_path / "a.safetensors", mean=(0.1, 0.2, 0.3), std=(0.5, 0.4, 0.2)
    )
    scale = [1 / (255 * std) for std in record.std]
    offset = [-0.2, -0.5, -1.5]
    load_weights(tiny(rescaling=(scale, offset)), record)
    load_weights(tiny(rescaling=([1 / 127.5] * 4, [-1] * 4), channels=4), record)
    refused(
        tiny(rescaling=(1 / 127.5, -1)),
        record,
        r"'image_rescaling' rescales by .* the weights expect .* with weights=",
    )


def test_names_are_resolved_by_the_models_origin(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = tiny()
    with pytest.raises(ValueError, match=r"no weight file 'mnist', .* weights_info\("):
        load_weights(model, "mnist")
    object.__setattr__(model, "origin", Origin("lenet", "modern", {}, 10, True, None))
    with pytest.raises(ValueError, match=r"weights='minst' .* mean 'mnist'"):
        load_weights(model, "minst")
    with pytest.raises(
        FileNotFoundError, match=r"There is no weight file minst\.keras"
    ):
        load_weights(model, "minst.keras")
    save_weights(model, tmp_path / "a.safetensors").rename("plain")
    assert load_weights(model, "plain").format == "safetensors"


def test_scaling_is_the_papers():
    grey = (np.array([0.0, 1.0]) - RECORD.mean[0]) / RECORD.std[0]
    np.testing.assert_allclose(grey, [-0.1, 1.175])


def test_lists_and_lookups():
    assert models_with_weights()[:2] == ["lenet", "alexnet"]
    assert {"unet", "mini_vgg"}.isdisjoint(models_with_weights())
    assert list_weights("lenet") == ["mnist"]
    assert list_weights("vgg16") == [
        "imagenet/torchvision-bn-v1",
        "imagenet/timm-bn-tv_in1k",
        "imagenet/timm-tv_in1k",
        "imagenet/torchvision-v1",
        "imagenet",
    ]
    assert list_weights("unet") == []
    everything = list_weights()
    assert everything[:3] == [
        "lenet/mnist",
        "alexnet/imagenet",
        "alexnet/imagenet/torchvision-v1",
    ]
    assert len(everything) == len({(r.model, r.name) for r in RECORDS})
    assert weights_info("lenet", "mnist").variant == "modern"
    assert weights_info("lenet", "mnist", "paper").variant == "paper"
    assert find("lenet", "mnist", options={"other": 1}).variant == "modern"


def test_lists_begin_with_the_most_accurate(monkeypatch):
    names = {"imagenet/a": 0.5, "imagenet/b": None, "imagenet/c": 0.75}
    records = tuple(
        dataclasses.replace(RECORD, name=name, top1=top1, file=name)
        for name, top1 in names.items()
    )
    monkeypatch.setattr("convzoo.pretrained.records.RECORDS", records)
    assert list_weights("lenet") == ["imagenet/c", "imagenet/a", "imagenet/b"]


def test_wrong_lookups_say_what_exists():
    for call, message in (
        (lambda: list_weights("lennet"), r"model='lennet' .* you mean 'lenet'\?"),
        (lambda: find("lennet", "mnist"), r"model='lennet' .* you mean 'lenet'\?"),
        (
            lambda: find("unet", "imagenet"),
            r"No weights are published for unet, .* exist for 'lenet', 'alexnet'",
        ),
        (
            lambda: find("lenet", "imagenet"),
            r"weights='imagenet' is not known; accepted: 'mnist'\.",
        ),
        (
            lambda: find("lenet", "mnist", "papers"),
            r"variant='papers' has no weights lenet/mnist, did you mean 'paper'\?; "
            r"they exist for 'modern', 'paper'\.",
        ),
        (
            lambda: find("resnet101", "imagenet", "v1.5"),
            r"variant='v1\.5' has no weights resnet101/imagenet, did you mean 'v1'\?; "
            r"they exist for 'v1', and it has 'imagenet/torchvision-v2', "
            r"'imagenet/torchvision-v1'\.",
        ),
        (
            lambda: find("vgg16", "imagenet", options={"batch_norm": True}),
            r"vgg16/imagenet exist for the options {'batch_norm': False}, found "
            r"{'batch_norm': True}; leave",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    for name in (None, 3, ["mnist"]):
        with pytest.raises(ValueError, match=r"weights=.* known.*accepted: 'mnist'\."):
            find("lenet", name)
    for shape in ((32, 32), 32, "abc", (32, 32, "1"), np.zeros(3)):
        with pytest.raises(ValueError, match=r"input_shape=.* must be \(height, width"):
            find("lenet", "mnist", input_shape=shape)
    for name, message in (
        ("mobilenet", r"no option 'alpa' for mobilenet, did you mean 'alpha'\?; its "),
        ("resnet50", r"no option 'alpa' for resnet50; its weights differ in none\."),
    ):
        with pytest.raises(TypeError, match=message):
            weights_info(name, "imagenet", alpa=0.5)


def test_what_is_found_is_the_callers_own():
    found = weights_info("mobilenet", "imagenet")
    assert found in RECORDS
    found.options["alpha"] = 7
    assert found not in RECORDS
    assert weights_info("mobilenet", "imagenet").options["alpha"] == 1


def test_what_names_weights():
    for text in (
        "imagenet", "imagenet/keras", "imagenet/torchvision-v1.5", "mnist", "mnist/a"
    ):  # fmt: skip
        assert names_weights("resnet50", text), text
    for text in (
        None, 3, "", "imagenets", "best", "imagenet.h5", "imagenet/best.pth",
        "imagenet/best.pth.TAR", "runs/imagenet", Path("imagenet"),
    ):  # fmt: skip
        assert not names_weights("resnet50", text), text


def test_a_body_needs_no_top():
    body = find("resnet50", "imagenet", include_top=False)
    assert body.file.endswith("_notop.h5")
    assert find("resnet50", "imagenet").file.endswith("_kernels.h5")
    assert find("alexnet", "imagenet", include_top=False).include_top


@pytest.mark.parametrize(
    ("shape", "side"),
    [
        (None, 224),
        ((None, None, 3), 224),
        ((160, 160, 3), 160),
        ((160, None, 3), 160),
        ((200, 200, 1), 192),
        ((176, 176, 3), 192),
        ((32, 32, 3), 128),
        ((900, 600, 3), 224),
    ],
)
def test_the_nearest_size_is_taken(shape, side):
    for alpha in (1.0, 0.25):
        record = find(
            "mobilenet", "imagenet", options={"alpha": alpha}, input_shape=shape
        )
        assert record.input_shape == (side, side, 3)
        assert record.options == {"alpha": alpha}


@pytest.mark.parametrize("model", ["resnet18", "resnet34"])
def test_basic_blocks_know_one_network_only(model):
    record = find(model, "imagenet")
    assert record.variants == ("v1", "v1.5")
    for variant in record.variants:
        assert find(model, "imagenet", variant) == record


def test_options_choose_among_records_of_one_name(monkeypatch):
    wide, slim = (
        dataclasses.replace(RECORD, options={"alpha": alpha}, file=f"{alpha}")
        for alpha in (1.0, 0.5)
    )
    monkeypatch.setattr("convzoo.pretrained.records.RECORDS", (wide, slim))
    assert find("lenet", "mnist") == wide
    assert find("lenet", "mnist", options={"alpha": 0.5}) == slim
    with pytest.raises(
        ValueError, match=r"exist for the options .*0\.5.*, found .*0\.7"
    ):
        find("lenet", "mnist", options={"alpha": 0.7})


def test_decode_names_the_best_classes():
    rows = np.full((2, 10), 0.02)
    rows[0, [7, 3]] = 0.52, 0.32
    rows[1, 1] = 0.82
    first, second = RECORD.decode(rows, top=2)
    assert first == [("7", 7, 0.52), ("3", 3, 0.32)]
    assert (first[0].label, first[0].index, first[0].probability) == ("7", 7, 0.52)
    assert second[0].label == "1"
    assert [len(best) for best in RECORD.decode(rows, top=99)] == [10, 10]
    for top in (0, True, 1.0):
        with pytest.raises(
            ValueError, match=r"top must be a whole number of at least 1"
        ):
            RECORD.decode(rows, top=top)
    with pytest.raises(ValueError, match=r"shape \(images, 10\), found \(10,\)"):
        RECORD.decode(rows[0])
    with pytest.raises(ValueError, match=r"shape \(images, 10\), found \(2, 9\)"):
        RECORD.decode(rows[:, :9])
    for bad in (rows * 2, rows * np.nan, np.eye(10) * 2 - 0.1):
        with pytest.raises(
            ValueError, match=r"must be probabilities, .* apply softmax"
        ):
            RECORD.decode(bad)


def test_preprocess_scales_as_the_paper():
    field = np.zeros((28, 28), np.uint8)
    field[4:24, 12:16] = 255
    batch = RECORD.preprocess([field, field])
    assert batch.shape == (2, 32, 32, 1)
    assert batch.dtype == np.float32
    np.testing.assert_allclose([batch.min(), batch.max()], [-0.1, 1.175], rtol=1e-5)


def test_records_import_no_library():
    heavy = {"keras", "numpy", "PIL", "pooch", "requests", "h5py"}
    code = "import sys, convzoo.pretrained.records; "
    code += f"sys.exit(', '.join({heavy} & set(sys.modules)) or None)"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ})
