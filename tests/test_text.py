"""Prompts: words to tokens and refused in a line; read alike at any padding, and heard by every network that can."""

import numpy as np
import pytest
import torch

import unnoise as un
from unnoise.conditions.words import ToldWords, Words, split
from unnoise.config import UserError
from unnoise.data import Scenes
from unnoise.nets.attention import attend
from unnoise.nets.heard import Features, Tokens

WORDS = ToldWords("text", ("a", "red", "blue", "circle", "square", "left", "of", ","), 9)
HEARD = {"text": Tokens(vocabulary=11, length=10, width=32, depth=2)}
MADE = {
    "unet": lambda heard: un.nets.UNet(
        (3, 8, 8), widths=(8, 16), blocks=1, attention=(1, 2), head_width=8, heard=heard
    ),
    "unet, preserving": lambda heard: un.nets.UNet(
        (3, 8, 8), widths=(8, 16), blocks=1, attention=(1,), head_width=8, heard=heard, magnitude_preserving=True
    ),
    "unet, core": lambda heard: un.nets.UNet(
        (3, 8, 8), widths=(8, 16), blocks=1, core=2, core_width=24, head_width=8, heard=heard
    ),
    "unet, no attention": lambda heard: un.nets.UNet((3, 8, 8), widths=(8,), blocks=1, heard=heard),
    "dit": lambda heard: un.nets.DiT((3, 8, 8), width=32, depth=2, patch=2, head_width=16, heard=heard),
    "dit, preserving": lambda heard: un.nets.DiT(
        (3, 8, 8), width=32, depth=2, patch=2, head_width=16, heard=heard, magnitude_preserving=True
    ),
    "resnet": lambda heard: un.nets.ResNet((3, 8, 8), width=16, depth=2, heard=heard),
    "mlp": lambda heard: un.nets.MLP((2,), width=32, depth=2, heard=heard),
}


def awake(net: un.nets.Net) -> un.nets.Net:
    """With weights where a fresh network has zeros, or it would answer 0 whatever it is told."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in net.parameters():
            if not weight.any():
                weight.copy_(0.3 * torch.randn(weight.shape, generator=generator))
    return net.double().eval()


def leaf(*captions: str) -> torch.Tensor:
    return torch.from_numpy(WORDS.encode(np.array(captions)))


def answer(net: un.nets.Net, cond: dict[str, torch.Tensor], count: int = 2) -> torch.Tensor:
    x = torch.randn(1, *net.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        return net(x.repeat(count, *(1 for _ in net.shape)), torch.zeros(count, dtype=torch.float64), cond)


@pytest.mark.parametrize("name", MADE)
def test_every_network_hears_a_prompt_and_the_order_of_its_words(name):
    net = awake(MADE[name](HEARD))
    told = answer(net, {"text": leaf("a red circle left of a blue square", "a blue circle left of a red square")})
    assert (told[0] - told[1]).abs().max() > 1e-6


@pytest.mark.parametrize("name", MADE)
def test_padding_changes_nothing_and_an_empty_prompt_is_none(name):
    """The same words in a leaf of any length; and a leaf that says nothing, as no leaf."""
    net, whole = awake(MADE[name](HEARD)), leaf("a red circle", "a blue square")
    short = whole[:, :4]
    assert not whole[:, 4:].any()
    torch.testing.assert_close(answer(net, {"text": whole}), answer(net, {"text": short}), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(answer(net, {"text": leaf("", "")}), answer(net, {}), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", MADE)
def test_features_of_another_encoder_are_heard_where_they_stand(name):
    net = awake(MADE[name]({"text": Features(length=5, width=6, inner=32)}))
    told = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    told[..., -1] = torch.tensor([1.0, 1, 1, 0, 0])
    other = told.clone()
    other[:, 3:, :-1] = 9.0  # what stands in padding is nothing
    first = answer(net, {"text": told})
    torch.testing.assert_close(first, answer(net, {"text": other}), rtol=1e-12, atol=1e-12)
    assert (first[0] - first[1]).abs().max() > 1e-6
    silent = torch.zeros(2, 5, 7, dtype=torch.float64)
    torch.testing.assert_close(answer(net, {"text": silent}), answer(net, {}), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_masked_attention_is_attention_to_what_stands(dtype):
    """By both roads, and so are its gradients."""
    generator = torch.Generator().manual_seed(0)
    queries, keys, values = (torch.randn(2, 3, n, 8, generator=generator, dtype=dtype) for n in (5, 7, 7))
    mask = torch.arange(7).expand(2, 7) < 4
    found = attend(queries, keys, values, mask)
    torch.testing.assert_close(found, attend(queries, keys[:, :, :4], values[:, :, :4]), rtol=2e-2, atol=2e-2)
    given = [one.detach().requires_grad_() for one in (queries, keys, values)]
    attend(*given, mask).square().sum().backward()
    exact = [one.detach().double().requires_grad_() for one in (queries, keys[:, :, :4], values[:, :, :4])]
    attend(*exact).square().sum().backward()
    for one, other in zip(given, exact, strict=True):
        assert one.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(one.grad[:, :, : other.shape[2]].double(), other.grad, rtol=5e-2, atol=5e-2)
        assert not one.grad[:, :, other.shape[2] :].any()
    nothing = attend(queries, keys, values, torch.zeros_like(mask))
    assert not nothing.any()


def test_a_field_knows_its_places_where_it_is_told():
    """A flat picture far from every border: convolutions answer alike all over, waves do not."""
    flat = torch.zeros(1, 1, 64, 64)

    def spread(places: bool) -> float:
        torch.manual_seed(0)
        net = un.nets.UNet((1, 64, 64), widths=(8,), blocks=1, places=places)
        torch.nn.init.normal_(net.last.weight)
        with torch.no_grad():
            inner = net.eval()(flat, torch.zeros(1), {})[..., 16:-16, 16:-16]
        return float(inner.std() / inner.abs().mean())

    assert spread(False) < 1e-5 < 1e-2 < spread(True)


def test_words_are_read_in_small_letters_and_marks_by_themselves():
    assert split("A middle-sized DISC, and it's here.") == [
        "a",
        "middle-sized",
        "disc",
        ",",
        "and",
        "it's",
        "here",
        ".",
    ]
    assert WORDS.encode(np.array(["A RED circle"])).tolist() == WORDS.encode(np.array(["a red circle"])).tolist()
    assert leaf("a red circle")[0].tolist() == [1, 3, 4, 6, 0, 0, 0, 0, 0, 0]
    assert np.array_equal(WORDS.null, leaf("")[0])


@pytest.mark.parametrize(
    ("prompt", "line"),
    [
        ("a redd circle", r"has never read 'redd' .*; did you mean 'red'\?"),
        ("a red circle left of a blue square of a", "10 words, and 9 are read at most"),
        (7, "is a prompt, got 7"),
    ],
)
def test_a_prompt_that_cannot_be_read_is_refused_in_a_line(prompt, line):
    with pytest.raises(UserError, match=line):
        WORDS.read(prompt)


def test_the_vocabulary_is_that_of_the_training_part_and_its_most_frequent_words():
    source = Scenes(items=400, held_out=8, objects=1)
    captions = source.split("train").cond["text"].tolist()
    whole, few = Words().facts("text", source), Words(vocabulary=5).facts("text", source)
    assert set(whole["words"]) == {word for caption in captions for word in split(caption)}
    assert whole["length"] == max(len(split(caption)) for caption in captions)
    assert few["words"] == whole["words"][:5]
