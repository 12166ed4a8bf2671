"""Features are the published ones: equal to other programs on equal weights, at the resizing that belongs to them."""

import hashlib
import json
import runpy
from copy import copy
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from unnoise.config import UserError
from unnoise.data import SOURCES, watching
from unnoise.metrics import Protocol, frechet, inception_score, judge, kid
from unnoise.metrics import weights as door
from unnoise.metrics.features import features_of
from unnoise.metrics.inception import Inception, InceptionNet
from unnoise.metrics.lpips import LPIPS, LPIPSNet, opened
from unnoise.metrics.resizing import as_bytes, bicubic, tensorflow
from unnoise.metrics.weights import Published, digest_of, fit, read

ROOT = Path(__file__).parents[1]
BENCH = runpy.run_path(str(ROOT / "benchmarks" / "fidelity.py"))
RECORD = json.loads((ROOT / "benchmarks" / "results" / "fidelity.json").read_text())
COUNT, SIDES, WIDE = BENCH["COUNT"], BENCH["SIDES"], BENCH["WIDE"]


def drawn(net):
    """The network with the benchmark's weights."""
    shapes = {k: tuple(v.shape) for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    return fit(net, BENCH["state"](shapes), "drawn")


@cache
def inception():
    return drawn(InceptionNet())


def sets(count=COUNT, sides=SIDES):
    return [BENCH["pictures"](seed, count, *sides) for seed in (0, 1)]


def agree(told, features, rtol=1e-3):
    mine = BENCH["told"](features)
    for name, values in told.items():
        np.testing.assert_allclose(mine[name], values, rtol=rtol, atol=rtol * np.abs(values).max(), err_msg=name)


def test_inception_is_torch_fidelitys():
    net, record = Inception(inception()), RECORD["torch-fidelity"]
    a, b = map(net.features, sets())
    agree(record["features"], a)
    _, logits = net.both(sets()[0])
    agree(record["logits"], logits)
    assert frechet(a, b) == pytest.approx(record["frechet"], rel=1e-3)
    assert kid(a, b) == pytest.approx(record["kid"], rel=1e-3)
    assert inception_score(net.probabilities(sets()[0])) == pytest.approx(record["inception_score"], rel=1e-3)


def test_inception_is_pytorch_fids():
    net, record = Inception(inception(), "torch"), RECORD["pytorch-fid"]
    a, b = map(net.features, sets())
    agree(record["features"], a)
    assert frechet(a, b) == pytest.approx(record["frechet"], rel=1e-3)
    # The two resizings are two measures, and their names and figures say so.
    assert abs(record["frechet"] / RECORD["torch-fidelity"]["frechet"] - 1) > 0.01
    assert net.name == "inception-pytorch-fid"


@pytest.mark.parametrize("trunk", ["alex", "vgg"])
def test_lpips_is_the_published_one_and_a_distance_of_features(trunk):
    net = LPIPS(drawn(LPIPSNet(trunk)), f"lpips-{trunk}")
    x, y = sets(COUNT // 2, (WIDE, WIDE))
    np.testing.assert_allclose(net.distance(x, y), RECORD["lpips"][trunk], rtol=1e-3)
    assert net.distance(x, x).max() == 0


def test_a_resizing_of_lpips_in_a_table_of_features_is_lpips():
    """Squared distances of rows are LPIPS: so coverage, two-sample and all else are read in it."""
    net = LPIPS(drawn(LPIPSNet("alex")), "lpips-alex")
    x, y = sets(2, (40, 40))
    a, b = net.features(x).astype(np.float64), net.features(y).astype(np.float64)
    np.testing.assert_allclose(((a - b) ** 2).sum(axis=1), net.distance(x, y), rtol=1e-9)
    assert net.distance(x, x[::-1].copy())[0] == pytest.approx(net.distance(x[::-1].copy(), x)[0])


def test_tensorflows_resizing_places_pixels_at_multiples_of_the_ratio():
    ramp = torch.arange(8.0).reshape(1, 1, 1, 8).expand(1, 1, 8, 8)
    found = tensorflow(ramp, 20)
    expected = torch.minimum(torch.arange(20) * (8 / 20), torch.tensor(7.0))
    torch.testing.assert_close(found[0, 0, 3], expected)
    assert found[0, 0, 0, 0] == 0, "the first stands at the first"
    torch.testing.assert_close(tensorflow(ramp, 8), ramp)
    assert tensorflow(torch.full((1, 3, 5, 9), 7.0), 13).unique().tolist() == [7.0]


def test_the_clean_resizing_does_not_alias():
    """Stripes finer than the result's pixels become their mean; the other resizings keep a pattern of them."""
    stripes = np.zeros((1, 3, 64, 64), np.uint8)
    stripes[..., ::2] = 200
    assert bicubic(stripes, 16, 16)[..., 2:-2].std() < 2
    assert tensorflow(torch.from_numpy(stripes).float(), 18).std() > 50


def test_raw_pictures_of_any_levels_and_channels_are_bytes_in_three():
    digits = np.arange(17, dtype=np.float64).reshape(1, 1, 1, 17)
    found = as_bytes(digits, (0, 16))
    assert found.shape == (1, 3, 1, 17)
    assert found[0, 0, 0].tolist() == np.rint(np.arange(17) * 255 / 16).astype(int).tolist()
    whole = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    assert (as_bytes(whole) == whole).all()
    with pytest.raises(UserError, match="features are of pictures"):
        as_bytes(np.zeros((3, 2)))


def test_floats_whose_black_and_full_nobody_knows_are_no_pictures():
    x = np.random.default_rng(0).random((2, 3, 4, 4))
    with pytest.raises(UserError, match="nothing says what is black and full in float64"):
        as_bytes(x)
    with pytest.raises(UserError, match="store them as uint8"):
        LPIPS(LPIPSNet("alex")).features(x.astype(np.float32))
    assert np.array_equal(as_bytes(x, (0, 1)), np.rint(255 * x))


def test_a_network_is_known_by_its_numbers_and_not_by_its_file(tmp_path):
    from safetensors.torch import save_file

    net = drawn(LPIPSNet("alex"))
    save_file(net.state_dict(), tmp_path / "all.safetensors")
    again = opened(tmp_path / "all.safetensors", "alex")
    assert again.digest == digest_of(net)
    first = next(iter(net.state_dict().values()))
    assert LPIPS(drawn(LPIPSNet("vgg")), "lpips-vgg").digest != again.digest
    first.view(-1)[0] += 1e-4
    assert digest_of(net) != again.digest


class Evil:
    def __reduce__(self):
        return (Path("opened").touch, ())


def test_the_door_opens_published_files_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"a": torch.ones(2)}, tmp_path / "good.pth")
    torch.save({"a": Evil()}, tmp_path / "evil.pth")
    known = [
        Published(name, "https://nowhere", hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
        for name in ("good.pth", "evil.pth")
    ]
    assert read("good.pth", (known[0],))["a"].tolist() == [1, 1]
    with pytest.raises(UserError, match=r"a pickle with the SHA-256 .* not that of the published file: good.pth"):
        read("evil.pth", (known[0],))
    with pytest.raises(UserError, match="is damaged"):  # even with the right sum nothing but tensors is made
        read("evil.pth", (known[1],))
    assert not Path("opened").exists()
    Path("half.safetensors").write_bytes(b"12345678{")
    for name, said in (
        ("half.safetensors", "damaged"),
        ("missing.pth", "there is no weights"),
        ("good.txt", "no weights"),
    ):
        with pytest.raises(UserError, match=said):
            read(name)
    with pytest.raises(UserError, match=r"has no weights .* \(\d+ of \d+ are missing\)"):
        fit(LPIPSNet("alex"), {"a": torch.ones(1)}, "good.pth")


class Answer:
    """What urlopen gives: bytes under an address."""

    def __init__(self, url, data):
        self.url, self.data, self.headers = url, data, {"Content-Length": str(len(data))}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def geturl(self):
        return self.url

    def read(self, most):
        part, self.data = self.data[:most], self.data[most:]
        return part


def test_a_download_is_whole_and_of_its_checksum_or_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    data = b"weights" * 1000
    one = Published("w.pth", "https://example.org/w.pth", hashlib.sha256(data).hexdigest())
    served = {"url": one.url, "data": data, "calls": 0}

    def serve(url, timeout):
        served["calls"] += 1
        return Answer(served["url"], served["data"])

    monkeypatch.setattr(door.urllib.request, "urlopen", serve)
    served["data"] = data[:-1]
    with pytest.raises(UserError, match="gave other bytes than were published"):
        door.downloaded(one)
    served["data"], served["url"] = data, "http://example.org/w.pth"
    with pytest.raises(UserError, match="not https"):
        door.downloaded(one)
    assert not one.kept.exists()
    served["url"] = one.url
    assert door.downloaded(one).read_bytes() == data
    calls = served["calls"]
    assert door.downloaded(one) == one.kept
    assert served["calls"] == calls, "what is here is not fetched again"
    one.kept.write_bytes(b"tampered")
    assert door.downloaded(one).read_bytes() == data
    with pytest.raises(UserError, match="no address that can be trusted"):
        door.downloaded(Published("v.pth", "http://example.org/v.pth", "00"))


def test_features_by_name():
    assert features_of("classifier", source=SOURCES["digits"]()).name == "stored classifier"
    for spec, said in (
        ("incepton", "did you mean 'inception'"),
        ("inception", "give their path .* or ask for them to be fetched"),
        ("inception:", "stands where the weights lie"),
        ("classifier", "belong to labelled data"),
        ("dinov2:/nowhere", "no folder '/nowhere'|not here: pip install"),
    ):
        with pytest.raises(UserError, match=said):
            features_of(spec)


def test_a_classifier_is_kept_for_one_split_alone(cache, monkeypatch):
    source, trained = SOURCES["classes2d"](items=60, held_out=30), []

    def made(of):
        trained.append(of.held_out)
        known = judge.Known(of.name, of.digest, of.classes, (2,), False, 0, 0.0, of.held_out)
        return judge.JudgeNet((2,), len(of.classes), False), known

    monkeypatch.setattr(judge, "trained", made)
    other = copy(source)
    object.__setattr__(other, "held_out", 20)
    monkeypatch.setattr(type(source), "digest", source.digest)
    for of in (source, other, source, other):
        assert judge.judge_of(of).known.held_out == of.held_out
    assert trained == [30, 20]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "unnoise"


def test_a_classifier_of_ones_own_labels_is_trained_once_and_the_same(cache, monkeypatch):
    monkeypatch.setattr(judge, "FEWEST", 2560)
    monkeypatch.setattr(judge, "MOST", 2560)
    source = SOURCES["classes2d"](items=600, held_out=300)
    told = []
    with watching(lambda what, share, done: told.append((what, share))):
        made = judge.judge_of(source)
    assert told[-1] == ("training the classifier", 1.0)
    test, train = source.split("test"), source.split("train")
    right = (made.predict(test.items) == test.cond["label"]).mean()
    assert made.known.accuracy == pytest.approx(right)
    assert right > 0.95
    assert made.features(train.items).var(axis=0, ddof=1).mean() == pytest.approx(1, rel=1e-3)
    np.testing.assert_allclose(made.probabilities(test.items).sum(axis=1), 1)
    (kept,) = (cache / "classifiers").glob("*.safetensors")
    again = judge.judge_of(source)
    assert (again.digest, again.known) == (made.digest, made.known)
    kept.write_bytes(kept.read_bytes()[:-100])  # a damaged one is made again, and comes out the same
    assert judge.judge_of(source).digest == made.digest
    with pytest.raises(UserError, match="reads items of the shape"):
        made.features(np.zeros((2, 3)))
    with pytest.raises(UserError, match="labels of two classes or more, and swissroll has no labels"):
        judge.judge_of(SOURCES["swissroll"](items=10, held_out=10))


def test_a_classifier_of_pictures_learns_and_serves_the_protocol(cache, monkeypatch):
    monkeypatch.setattr(judge, "FEWEST", 5120)
    monkeypatch.setattr(judge, "MOST", 5120)
    source = SOURCES["shapes"](items=600, held_out=200)
    made = features_of("classifier", source=source)
    assert made.known.accuracy > 0.9
    rules = Protocol(source, 2, 50, features=made, measures=("frechet", "label_accuracy"))
    real = np.stack([source.draw(50, 7).items, source.draw(50, 8).items])
    labels = np.stack([source.draw(50, 7).cond["label"], source.draw(50, 8).cond["label"]])
    good = {row.name: row for row in rules.measure(real, labels)}
    noise = np.random.default_rng(0).integers(0, 256, real.shape).astype(np.uint8)
    bad = {row.name: row for row in rules.measure(noise, labels)}
    assert good["frechet"].features == "classifier"
    assert good["label_accuracy"].value > 0.9 > bad["label_accuracy"].value
    assert good["frechet"].value < 0.2 * bad["frechet"].value


@pytest.mark.parametrize("kind", ["dinov2", "clip"])
def test_transformers_are_read_as_they_were_trained(kind, tmp_path):
    """On tiny random networks of the same classes: what is shown at its own size is only normalised."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    if kind == "dinov2":
        small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
        net = transformers.Dinov2Model(transformers.Dinov2Config(**small, image_size=28, patch_size=14)).eval()
    else:
        small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
        net = transformers.CLIPVisionModelWithProjection(
            transformers.CLIPVisionConfig(**small, image_size=28, patch_size=14, projection_dim=8)
        ).eval()
    net.save_pretrained(tmp_path)
    made = features_of(f"{kind}:{tmp_path}")
    assert made.digest == digest_of(net)
    x = BENCH["pictures"](0, 2, made.side, made.side)
    mean, deviation = (torch.tensor(v)[:, None, None] for v in (made.kind.mean, made.kind.deviation))
    with torch.no_grad():
        told = net(pixel_values=(torch.from_numpy(x).float() / 255 - mean) / deviation)
    expected = told.last_hidden_state[:, 0] if kind == "dinov2" else told.image_embeds
    np.testing.assert_allclose(made.features(x), expected.numpy(), rtol=1e-4, atol=1e-5)
    assert made.side == (224 if kind == "dinov2" else 28)
    grey = np.full((1, 1, 9, 17), 77, np.uint8)  # of one colour, at any size: the same picture
    np.testing.assert_allclose(
        made.features(grey), made.features(np.full((1, 3, 50, 30), 77, np.uint8)), rtol=1e-4, atol=1e-5
    )
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match=f"holds no {kind} that can be read"):
        features_of(f"{kind}:{tmp_path}")
