"""The names of the block diagrams and what stands over them; imports nothing heavy."""

from __future__ import annotations

_HE = "He et al. 2015, arXiv:1512.03385"
_SZEGEDY_2014 = "Szegedy et al. 2014, arXiv:1409.4842"
_SZEGEDY_2015 = "Szegedy et al. 2015, arXiv:1512.00567"
_CHOLLET = "Chollet 2016, arXiv:1610.02357"
_HOWARD = "Howard et al. 2017, arXiv:1704.04861"
_RONNEBERGER = "Ronneberger et al. 2015, arXiv:1505.04597"

NO_GRAPHS = ("c3", "vgg", "overlap_tile", "weight_map")  # tables and maps

# Name: "title: source" or "title: source; remark".
BLOCKS = {
    "c3": "C3 of LeNet-5: LeCun et al. 1998, doi:10.1109/5.726791, Table I; "
    "a dot where a map of C3 reads a map of S2",
    "vgg": "VGG configurations: Simonyan and Zisserman 2014, arXiv:1409.1556, Table 1; "
    "the zoo builds D and E, which are read from its networks",
    "naive_inception": f"Naive inception module: {_SZEGEDY_2014}, Figure 2(a); "
    "with the filters of module 3a",
    "inception": f"Inception module: {_SZEGEDY_2014}, Figure 2(b); "
    "module 3a of Table 1",
    "auxiliary_2014": f"Side heads of GoogLeNet: {_SZEGEDY_2014}, section 5; "
    "in training only, where their losses count 0.3 each",
    "inception_a": f"Inception module A: {_SZEGEDY_2015}, Figure 5; the release keeps "
    "a 5x5 where the figure has a 3x3, and the figure gives no filters",
    "inception_b": f"Inception module B: {_SZEGEDY_2015}, Figure 6 with n = 7; "
    "module 6b of the release",
    "inception_c": f"Inception module C: {_SZEGEDY_2015}, Figure 7; "
    "module 7b of the release",
    "naive_grid_reduction": f"Naive grid reductions: {_SZEGEDY_2015}, Figure 9; "
    "the left one squeezes what the map represents, the right one costs three times "
    "as much",
    "grid_reduction_a": f"Grid reduction A: {_SZEGEDY_2015}, Figure 10; "
    "module 6a of the release",
    "grid_reduction_b": f"Grid reduction B: {_SZEGEDY_2015}, after Figure 10; "
    "module 7a of the release",
    "auxiliary_2015": f"Side head of InceptionV3: {_SZEGEDY_2015}, Figure 8; "
    "in training only, where its loss counts 0.4 in the release",
    "identity_block": f"Identity block: {_HE}, Figure 5",
    "conv_block": f"Conv block: {_HE}, Figure 3, dotted shortcuts; "
    "ResNet-50 from 56 to 28 pixels, as published (v1) and as in PyTorch",
    "shortcut_options": f"Shortcuts that change the shape: {_HE}, section 3.3; "
    "ResNet-34 from 56 to 28 pixels",
    "separable": f"Residual modules of Xception: {_CHOLLET}, Figure 5; "
    "nothing between depthwise and 1x1 convolution; the figure leaves out batch norm",
    "depthwise_separable": f"Depthwise separable convolution: {_HOWARD}, Figure 3; "
    "ReLU6 is the release's, the figure says ReLU",
    "contract": f"Contracting step of U-Net: {_RONNEBERGER}, Figure 1",
    "expand": f"Expanding step of U-Net: {_RONNEBERGER}, Figure 1; "
    "the skip from the left is copied and cropped; the release transposes, with a ReLU "
    "that the text does not have",
    "overlap_tile": f"Overlap-tile strategy: {_RONNEBERGER}, Figure 2; "
    "what a tile reads beyond the image, which is dashed, is mirrored",
    "weight_map": f"Weight map of the loss: {_RONNEBERGER}, Figure 3 and equation 2; "
    "w0 = 10 and sigma = 5 pixels, the cells are made up; narrow gaps weigh most, and "
    "all cells as much as all the background",
    "classifier_head": f"Classifier head: {_SZEGEDY_2014}, section 5; "
    "averages of whole maps as in Lin et al. 2013, arXiv:1312.4400",
}
