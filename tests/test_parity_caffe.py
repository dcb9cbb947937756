"""Equal outputs: Caffe's AlexNet and GoogLeNet as OpenCV runs them, live."""

import keras
import numpy as np
import pytest
from caffe_files import save_caffemodel
from caffe_nets import alexnet, googlenet, layers, opencv
from calibrated import assert_sensitive, difference
from drawn import pictures, scaled

import convzoo
from convzoo.pretrained import maps
from convzoo.pretrained.records import weights_info

pytestmark = pytest.mark.caffe

# Their network, its side, its last map and its logits.
NETS = {
    "alexnet": (alexnet, 227, "pool5", "fc8"),
    "googlenet": (googlenet, 224, "inception_5b/output", "loss3/classifier"),
}


class Case:
    """A network as OpenCV answers it, and its file."""

    def __init__(self, builder, folder):
        make, side, *ends = NETS[builder]
        self.builder, self.net = builder, make()
        self.layers = layers(self.net)
        self.path = save_caffemodel(folder / "net.caffemodel", self.layers)
        self.pictures = pictures(side)
        self.answer = opencv(self.net, self.path)
        self.body, self.logits = self.answer(self.pictures, *ends)
        self.end = ends[-1]

    def build(self, path, **arguments):
        return getattr(convzoo, self.builder)(weights=path, **arguments)

    def check(self, what, found, expected):
        error = difference(found, expected)
        print(f"{self.builder}, {what}: {error:.1e}")
        assert error <= 1e-4


@pytest.fixture(scope="module", params=NETS)
def case(request, tmp_path_factory):
    keras.backend.clear_session()
    return Case(request.param, tmp_path_factory.mktemp("caffe"))


def run(model, pictures):
    """Answer pictures 0..255, scaled as the file's own network asks for."""
    found = model(scaled(pictures, model.origin.scaling), training=False)
    return keras.tree.map_structure(np.asarray, found)


@pytest.mark.parametrize("v1", [False, True], ids=["layer", "layers"])
def test_equal_outputs(case, v1, tmp_path):
    other = pictures(case.pictures.shape[1], seed=9)
    assert_sensitive(
        lambda batch: case.answer(batch, case.end), case.pictures, another=other
    )
    path = tmp_path / "net.caffemodel"
    save_caffemodel(path, case.layers, v1=v1, legacy_shape=v1)
    ours = case.build(path, classifier_activation=None)
    record = weights_info(case.builder, "imagenet/caffe")
    assert ours.origin.scaling == (record.mean, record.std)
    case.check("logits", run(ours, case.pictures), case.logits)


def test_without_top(case):
    ours = case.build(case.path, include_top=False)
    expected = case.body.transpose(0, 2, 3, 1)
    case.check("body", run(ours, case.pictures), expected)


def test_the_normalisation_matters(case, monkeypatch):
    """Without its absorption the outputs differ: the maps are large enough."""
    monkeypatch.setattr(maps.caffe, "BEFORE", 1.0)
    monkeypatch.setattr(maps.caffe, "AFTER", 1.0)
    ours = case.build(case.path, classifier_activation=None)
    assert difference(run(ours, case.pictures), case.logits) > 1e-2


def test_side_heads(tmp_path):
    net = googlenet(aux=True)
    path = save_caffemodel(tmp_path / "net.caffemodel", layers(net))
    images = pictures(224)
    ends = {
        "main": "loss3/classifier",
        "aux1": "loss1/classifier",
        "aux2": "loss2/classifier",
    }
    expected = opencv(net, path)(images, *ends.values())
    ours = convzoo.googlenet(weights=path, aux=True, classifier_activation=None)
    found = run(ours, images)
    assert set(found) == set(ends)
    for head, logits in zip(ends, expected, strict=True):
        error = difference(found[head], logits)
        print(f"googlenet, {head}: {error:.1e}")
        assert error <= 1e-4
    alone = convzoo.googlenet(weights=path, classifier_activation=None)
    np.testing.assert_array_equal(run(alone, images), found["main"])
