"""Which weights and which descriptions are taken for the published network."""

import numpy as np
import pytest

from toolkit.caffe.description import check_description
from toolkit.caffe.model_file import CaffeLayer
from toolkit.caffe.prototxt import parse_text, read_prototxt
from toolkit.caffe.weights import SHAPES, match_weights
from toolkit.errors import InputError, MismatchError


def layers(**changes):
    """The seven layers, all of one value without memory; a change is blobs, or None to drop."""
    found = {}
    for name, shape in SHAPES.items():
        kind = "InnerProduct" if name.startswith("fc") else "Convolution"
        found[name] = CaffeLayer(name, kind, (zeros(shape), zeros(shape[:1])))
    for name, blobs in changes.items():
        if blobs is None:
            del found[name]
        else:
            found[name] = CaffeLayer(name, "Convolution", blobs)
    return list(found.values())


def zeros(shape):
    return np.broadcast_to(np.float32(0), shape)


def problems(content):
    with pytest.raises(MismatchError) as caught:
        match_weights(content, "m")
    return caught.value.problem


def test_layers_without_weights_losses_and_equal_copies_are_passed_over():
    extra = [
        CaffeLayer("data", "ImageData", ()),
        CaffeLayer("loss", "RankHardLoss", ()),
        CaffeLayer("center", "CenterLoss", (zeros((3, 4)),)),
        CaffeLayer("conv1_p", "Convolution", (zeros(SHAPES["conv1"]), zeros((96,)))),
    ]
    matched = match_weights([*layers(), *extra], "m")
    assert matched.ignored == ("center", "conv1_p")
    assert len(matched.tensors) == 14


def test_the_old_style_has_ones_in_front():
    old = layers(fc6=(zeros((1, 1, 4096, 9216)), zeros((1, 1, 1, 4096))))
    assert match_weights(old, "m").tensors["fc6.weight"].shape == (4096, 9216)


def test_everything_that_is_wrong_is_in_one_message():
    content = [
        *layers(
            conv2=(zeros((256, 96, 5, 5)), zeros((256,))),
            conv3=(zeros(SHAPES["conv3"]),),
            conv5=(np.full(SHAPES["conv5"], np.nan, np.float32), zeros((256,))),
            fc7=(zeros((2048, 4096)), zeros((2048,))),
            fc6=None,
        ),
        CaffeLayer("fc8", "InnerProduct", (zeros((1000, 4096)), zeros((1000,)))),
        CaffeLayer("conv1", "Convolution", (zeros(SHAPES["conv1"]), zeros((96,)))),
        CaffeLayer("conv1_p", "Convolution", (zeros((96, 3, 11, 11)) + 1, zeros((96,)))),
    ]
    message = problems(content)
    for words in (
        "conv2.weight is 256x96x5x5, not 256x48x5x5",
        "conv3 has 1 arrays, not a weight and a bias",
        "conv5.weight has values that are no numbers",
        "fc7.weight is 2048x4096, not 1024x4096; fc7.bias is 2048, not 1024",
        "fc6 is missing",
        "'fc8' is unknown, with weights of 1000x4096, 1000",
        "conv1 is there twice",
        "conv1_p is no copy of conv1: its weights differ",
    ):
        assert words in message


def test_a_foreign_network_is_listed_up_to_a_bound():
    foreign = [CaffeLayer(f"block{i}", "Convolution", (zeros((1,)),)) for i in range(50)]
    message = problems(foreign)
    assert "'block0' is unknown" in message
    assert "and 27 more" in message  # 50 unknown and 7 missing, 30 are shown
    assert "conv1 is missing" in problems([])


@pytest.mark.parametrize("style", ["new", "old"])
def test_the_published_description_fits(caffe, style):
    check_description(parse_text(caffe.prototxt(style)), "p")


def test_what_only_training_needs_is_passed_over(caffe):
    text = caffe.prototxt().replace('input: "data"', "")
    text = text.replace("input_shape { dim: 1 dim: 3 dim: 227 dim: 227}", "")
    data = 'layer { name: "data" type: "ImageData" top: "data" transform_param { crop_size: 224 } }'
    drop = 'layer { name: "drop6" type: "Dropout" bottom: "fc6" top: "fc6" }\nlayer { name: "fc7"'
    text = text.replace('layer { name: "fc7"', drop)
    text += 'layer { name: "norml2" type: "Norm" bottom: "fc7" top: "norml2" }'
    text += 'layer { name: "loss" type: "RankHardLoss" bottom: "norml2" rank_param { margin: 1 } }'
    copy = 'layer { name: "conv1_p" type: "Convolution" bottom: "data_p" top: "conv1_p" }'
    check_description(parse_text(f"# a comment\n{data}\n{copy}\n{text}"), "p")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("num_output: 96", "num_output: 64", "conv1: num_output is 64, not 96"),
        ("stride: 4", "stride: 2", "conv1: stride is 2, not 4"),
        ("stride: 4", "stride_h: 4 stride_w: 3", "conv1: stride is 3, not 4"),
        ("pad: 2 group: 2", "pad: 2", "conv2: group is 1, not 2"),
        ("pool: MAX", "pool: AVE", "pool1: pool is AVE, not MAX"),
        ("pool: MAX", "pool: 1", "pool1: pool is AVE, not MAX"),
        ("alpha: 0.0001", "alpha: 0.1", "norm1: alpha is 0.1, not 1e-4"),
        ("local_size: 5", "local_size: 3", "norm1: local_size is 3, not 5"),
        ("num_output: 1024", "num_output: 2048", "fc7: num_output is 2048, not 1024"),
        ("kernel_size: 11", "", "conv1: kernel_size is missing, not 11"),
        ("kernel_size: 11", "kernel_size: 11 dilation: 2", "conv1: dilation is 2, not 1"),
        ("dim: 227", "dim: 224", "the input is 3x224x224, not 3x227x227"),
        ('type: "LRN"', 'type: "BatchNorm"', "'norm1' stands where an LRN is expected"),
        ('name: "relu7" type: "ReLU"', 'name: "s" type: "Sigmoid"', "'s' stands where a ReLU"),
        ('name: "conv1"', 'name: "conv0"', "conv1 is missing"),
    ],
)  # fmt: skip
def test_descriptions_of_another_network(caffe, old, new, words):
    text = caffe.prototxt()
    assert old in text
    with pytest.raises(MismatchError, match="is not the published network") as caught:
        check_description(parse_text(text.replace(old, new)), "p")
    assert words in caught.value.problem


def test_a_chain_that_ends_early(caffe):
    text = caffe.prototxt()
    with pytest.raises(MismatchError, match="fc7 is missing, and all behind it"):
        check_description(parse_text(text[: text.index('layer { name: "fc7"')]), "p")
    with pytest.raises(MismatchError, match="conv1 is missing"):
        check_description(parse_text(""), "p")


def test_the_text_format():
    text = parse_text(
        """a: 1 b: "two # no comment" # comment
        c { d: [1, 2 ,3]; e <f: 'x'> } c: { d: 4 }
        a: -1.5e-3, s: "with \\" quote" """
    )
    assert text.scalars == {
        "a": ["1", "-1.5e-3"],
        "b": ["two # no comment"],
        "s": ['with \\" quote'],
    }
    assert [inner.scalars for inner in text.messages["c"]] == [{"d": ["1", "2", "3"]}, {"d": ["4"]}]
    assert text.inner("c").inner("e").first("f") == "x"
    assert parse_text("").scalars == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a {", "ends before the }"),
        ("a: 1\nb }", "line 2"),
        ("}", "line 1 has '}'"),
        ("a { b: 1 >", "has '>'"),
        ("a:", "no value"),
        ("a: [1, 2", "no value"),
        ("a 1", "without a colon"),
        ('a: "open', "ends nowhere"),
        ("a { " * 40 + "}" * 40, "nested deeper"),
    ],
)
def test_broken_text(text, words):
    with pytest.raises(ValueError, match=words):
        parse_text(text)


def test_files_that_are_no_prototxt(caffe, tmp_path):
    for content, words in (
        (b"", "is empty"),
        (b"\xff\xfe\x00\x01", "is no prototxt"),
        (b"<html>", "is no prototxt"),
    ):
        with pytest.raises(InputError, match=words):
            read_prototxt(caffe.write("p.prototxt", content))
    with pytest.raises(InputError, match="no plain file"):
        read_prototxt(tmp_path)
