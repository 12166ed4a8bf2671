"""Frozen encoders of text, on tiny ones of the classes of CLIP and T5: told as they tell, kept, known again."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from unnoise.cli import main
from unnoise.conditions import Frozen, encoder
from unnoise.conditions.encoder import opened
from unnoise.conditions.frozen import ToldFrozen, _read
from unnoise.config import UserError
from unnoise.data import Scenes
from unnoise.recipe import resolve
from unnoise.run import open as open_run
from unnoise.training import Training, fit

transformers = pytest.importorskip("transformers")
CAPTIONS = np.array(["a red circle", "", "a small blue square left of a ring", "a red circle", "ring"])


def pieces() -> list[str]:
    """All letters, by themselves and at the end of a word."""
    return [chr(k) for k in range(33, 127)]


def made(kind: str, folder: Path, seed: int = 0) -> tuple[torch.nn.Module, object]:
    """A network of random weights and its tokenizer, saved as their authors save them."""
    torch.manual_seed(seed)
    if kind == "clip":
        names = [*pieces(), *(f"{one}</w>" for one in pieces()), "re", "red</w>", "<|startoftext|>", "<|endoftext|>"]
        vocabulary = {name: k for k, name in enumerate(names)}
        words = transformers.CLIPTokenizer(vocabulary, [("r", "e"), ("re", "d</w>")])
        ends = {"bos_token_id": vocabulary["<|startoftext|>"], "eos_token_id": vocabulary["<|endoftext|>"]}
        config = transformers.CLIPTextConfig(
            vocab_size=len(names), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
            max_position_embeddings=40, pad_token_id=ends["eos_token_id"], **ends,
        )  # fmt: skip
        net = transformers.CLIPTextModel(config).eval()
    else:
        known = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), ("▁", -2.0), ("▁red", -3.0)]
        words = transformers.T5Tokenizer([*known, *((one, -4.0) for one in pieces())], extra_ids=0)
        config = transformers.T5Config(
            vocab_size=len(words), d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2,
            feed_forward_proj="gated-gelu",
        )  # fmt: skip
        net = transformers.T5EncoderModel(config).eval()
    net.save_pretrained(folder)
    words.save_pretrained(folder)
    return net, words


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for held in (opened, _read):
        held.cache_clear()
    return tmp_path / "cache"


def told(folder: Path, **fields) -> ToldFrozen:
    node = Frozen(encoder=str(folder), **fields)
    return node.told("text", node.facts("text", Scenes(items=40, held_out=8)), (3, 8, 8))


@pytest.mark.parametrize("kind", ["clip", "t5"])
def test_features_are_the_encoders_own_and_padding_changes_nothing(kind, tmp_path):
    """Alone to the bit; beside longer texts, padded and masked as the library does it, to rounding."""
    net, words = made(kind, tmp_path / "e")
    own = told(tmp_path / "e", length=40)
    leaf = torch.from_numpy(own.encode(CAPTIONS))
    for row, text in zip(leaf, CAPTIONS.tolist(), strict=True):
        given = words(text, return_tensors="pt")
        count = given["input_ids"].shape[1] if text else 0
        assert row[:, -1].tolist() == [1.0] * count + [0.0] * (40 - count)
        assert not row[count:].any()
        if text:
            with torch.no_grad():
                assert torch.equal(row[:count, :-1], net(**given).last_hidden_state[0])
    given = words(CAPTIONS.tolist(), return_tensors="pt", padding=True)
    with torch.no_grad():
        beside = net(**given).last_hidden_state
    stands = leaf[:, : beside.shape[1], -1] > 0
    torch.testing.assert_close(leaf[:, : beside.shape[1], :-1][stands], beside[stands], rtol=1e-4, atol=1e-5)
    longer = torch.from_numpy(told(tmp_path / "e", length=38).encode(CAPTIONS))
    assert torch.equal(longer, leaf[:, :38])
    assert np.array_equal(own.null, own.encode(np.array([" "]))[0])
    assert own.heard == type(own.heard)(40, 16, 128)


@pytest.mark.parametrize("kind", ["clip", "t5"])
def test_what_is_kept_is_what_is_read_afresh_to_the_bit(kind, tmp_path, cache):
    made(kind, tmp_path / "e")
    own = told(tmp_path / "e", length=12)
    fresh = own.encode(CAPTIONS)
    assert not cache.exists()  # what people ask is not kept
    kept = own.items(CAPTIONS)
    files = sorted(cache.rglob("*.*"))
    assert len(files) == 3  # the texts that differ and say something, and nothing beside them
    assert all(path.suffix == ".safetensors" for path in files)
    with safe_open(files[0], "numpy") as one:
        assert one.get_tensor("rows").dtype == np.float32
    shutil.rmtree(tmp_path / "e")  # nobody asks the encoder again
    opened.cache_clear()
    _read.cache_clear()
    assert kept.shape == fresh.shape
    assert np.array_equal(kept[np.array([2, 0, 4, 1])], fresh[[2, 0, 4, 1]])
    assert np.array_equal(own.encode(CAPTIONS), fresh)
    files[0].write_bytes(b"half of it")
    with pytest.raises(UserError, match=r"there is no folder .* with a text encoder"):
        own.encode(CAPTIONS)


def test_a_damaged_file_is_read_anew(tmp_path, cache):
    made("clip", tmp_path / "e")
    own = told(tmp_path / "e", length=12)
    leaf = own.items(CAPTIONS)
    whole = leaf[:]
    for path in cache.rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-5])
    _read.cache_clear()
    assert np.array_equal(leaf[:], whole)
    assert np.array_equal(own.items(CAPTIONS)[:], whole)


def test_the_identity_is_of_content_alone(tmp_path):
    """Not of the place, the precision of the file or its layout; of weights, vocabulary and how both are used."""
    made("clip", tmp_path / "a")
    made("clip", tmp_path / "b")
    made("clip", tmp_path / "c", seed=1)
    made("t5", tmp_path / "d")
    shutil.copytree(tmp_path / "a", tmp_path / "e")
    config = json.loads((tmp_path / "e" / "config.json").read_text())
    (tmp_path / "e" / "config.json").write_text(json.dumps({**config, "hidden_act": "gelu"}))
    whole = transformers.CLIPConfig(
        text_config=config, vision_config={"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
                                           "num_attention_heads": 2, "image_size": 8, "patch_size": 4},
    )  # fmt: skip
    both = transformers.CLIPModel(whole)
    both.text_model.load_state_dict(transformers.CLIPTextModel.from_pretrained(tmp_path / "a").state_dict())
    both.save_pretrained(tmp_path / "f")
    for path in (tmp_path / "a").glob("tokenizer*"):
        shutil.copy(path, tmp_path / "f")
    a, b, c, d, e, f = (opened.__wrapped__(str(tmp_path / name)).digest for name in "abcdef")
    assert a == b == f
    assert len({a, c, d, e}) == 4


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda at: shutil.rmtree(at), "there is no folder .* with a text encoder"),
        (lambda at: (at / "config.json").unlink(), "e holds no text encoder"),
        (lambda at: (at / "model.safetensors").rename(at / "pytorch_model.bin"), "has no weights in safetensors"),
        (lambda at: [path.unlink() for path in at.glob("tokenizer*")], "has no tokenizer that can be read"),
        (lambda at: (at / "config.json").write_text('{"model_type": "bert"}'), "is a 'bert', and text is read by"),
        (lambda at: thinned(at / "model.safetensors"), "its weights lack .*norm"),
    ],
)
def test_what_is_no_encoder_is_refused_in_a_line(spoil, line, tmp_path):
    made("clip", tmp_path / "e")
    spoil(tmp_path / "e")
    with pytest.raises(UserError, match=line) as told_of:
        told(tmp_path / "e")
    assert "\n" not in str(told_of.value)


def thinned(path: Path) -> None:
    from safetensors.torch import load_file, save_file

    held = {name: tensor for name, tensor in load_file(path).items() if "final_layer_norm" not in name}
    save_file(held, path, {"format": "pt"})


def test_a_hubs_name_is_fetched_only_where_that_is_said(monkeypatch):
    asked = []

    def refuse(where, **options):
        asked.append((where, options["local_files_only"]))
        raise OSError("no such model")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", refuse)
    with pytest.raises(UserError, match=r"'nobody/clip' is no folder here, and no model .* \(download: true\)"):
        opened("nobody/clip")
    with pytest.raises(UserError, match="nobody/clip cannot be fetched from the hub: no such model"):
        opened("nobody/clip", download=True)
    assert asked == [("nobody/clip", True), ("nobody/clip", False)]
    monkeypatch.setattr(encoder, "import_module", lambda name: exec("raise ImportError"))
    with pytest.raises(UserError, match=r"pip install 'unnoise\[text\]'"):
        opened("nobody/clip")


def test_a_prompt_that_cannot_be_read_is_refused_in_a_line(tmp_path):
    made("clip", tmp_path / "e")
    own = told(tmp_path / "e", length=12)
    assert own.read("a red ring") == "a red ring"
    with pytest.raises(UserError, match="' has 16 tokens with their marks, and 12 are read at most"):
        own.read("a red circle, round")
    own.items(CAPTIONS)  # cut, and kept
    with pytest.raises(UserError, match="12 are read at most"):
        own.read("a small blue square left of a ring")
    with pytest.raises(UserError, match="text is a prompt, got 7"):
        own.read(7)
    with pytest.raises(UserError, match="reads 40 tokens at most, got length 41"):
        told(tmp_path / "e", length=41)


NODES = {
    "data": {"kind": "scenes", "items": 32, "held_out": 8, "objects": 1, "unseen": 0},
    "modality": "image",
    "net": {"kind": "unet", "widths": [8, 8], "blocks": 1, "attention": [2], "head_width": 8},
    "train": {"items": 64, "batch": 16, "validate_every": 0, "checkpoint_every": 32, "snapshots": 0, "warmup": 0},
    "sample": {"steps": 3, "guidance": 2},
}


def test_a_run_keeps_its_encoder_and_takes_no_other(tmp_path, capsys):
    """Trained, stopped and gone on with to the bit, wherever the encoder lies; asked by --text; and no other."""
    made("t5", tmp_path / "e")
    nodes = {**NODES, "conditions": {"text": {"kind": "frozen", "encoder": str(tmp_path / "e"), "length": 60}}}
    recipe = resolve("tiny", nodes)
    whole = fit(recipe, tmp_path / "whole")
    training = Training(recipe, tmp_path / "cut")
    for tick in training.ticks():
        if tick.checkpoint:
            training.stop()
    (tmp_path / "e").rename(tmp_path / "moved")
    nodes["conditions"]["text"]["encoder"] = str(tmp_path / "moved")
    moved = resolve("tiny", nodes)
    cut = fit(moved, tmp_path / "cut", resume=True)
    assert cut.weights == whole.weights
    facts = json.loads((tmp_path / "cut" / "facts.json").read_text())["conditions"]["text"]
    assert facts == {"digest": opened(str(tmp_path / "moved")).digest, "width": 16, "length": 60}

    said = (tmp_path / "cut" / "recipe.yaml").read_text().replace(str(tmp_path / "e"), str(tmp_path / "moved"))
    (tmp_path / "cut" / "recipe.yaml").write_text(said)
    run = open_run(tmp_path / "cut")
    red, blue = (run.sample(2, text=f"a {colour} ring", raw=False) for colour in ("red", "blue"))
    assert (red - blue).abs().max() > 0
    assert torch.equal(run.sample(2, text="", guidance=1, raw=False), run.sample(2, guidance=1, raw=False))
    negative = run.sample(2, text="a red ring", guidance='cfg weight=3 negative="a ring"', raw=False)
    assert (negative - red).abs().max() > 0
    assert main(["sample", str(run.folder), "--text", "a red ring", "--n", "2", "--out", str(tmp_path / "a.png")]) == 0
    assert main(["sample", str(run.folder), "--text", "a very long " * 9, "--out", str(tmp_path / "b.png")]) == 2
    assert "60 are read at most" in capsys.readouterr().err

    made("t5", tmp_path / "moved", seed=3)
    opened.cache_clear()
    with pytest.raises(UserError, match=r"'text' was trained with a text encoder whose identity is .* holds another"):
        open_run(tmp_path / "cut").sample(1, text="a purple star")
    with pytest.raises(UserError, match="was started with a text encoder for 'text' whose identity is"):
        Training(moved, tmp_path / "cut", resume=True)
