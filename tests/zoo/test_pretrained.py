"""ImageNet weights: where they come from, the checks, and fine-tuning behind frozen features. All offline."""

import functools
import hashlib
import os
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision

from benchmark import store
from benchmark.data import Dataset
from benchmark.zoo import nets, pretrained, training

NPZ, NPZ_HASH = pretrained.DEEP_COMPRESSION["squeezenet1_0"]


@pytest.fixture(scope="module")
def state():
    with nets.seeded(11):
        return {
            key: value / 2
            for key, value in torchvision.models.squeezenet1_0().state_dict().items()
        }


@pytest.fixture(scope="module")
def site(tmp_path_factory, state):
    """A folder with the weights in both formats, served on localhost; the .pth's name holds its hash."""
    root = tmp_path_factory.mktemp("site")
    (root / "squeezenet").mkdir()
    np.savez(root / NPZ, **{key: value.numpy() for key, value in state.items()})
    torch.save(state, root / "plain.pth")
    digest = pretrained.file_hash(root / "plain.pth")
    pth = (root / "plain.pth").rename(root / f"squeezenet1_0-{digest[:8]}.pth")
    handler = type(
        "Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None}
    )
    with ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=root)
    ) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        yield SimpleNamespace(
            root=root, url=url, pth=pth.name, npz_hash=pretrained.file_hash(root / NPZ)
        )
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def own_places(monkeypatch, site):
    """The official URL and the hash of the mirror's file are those of the small site; no mirror is set."""
    enum = SimpleNamespace(IMAGENET1K_V1=SimpleNamespace(url=f"{site.url}/{site.pth}"))
    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda name: enum)
    monkeypatch.setitem(
        pretrained.DEEP_COMPRESSION, "squeezenet1_0", (NPZ, site.npz_hash)
    )
    monkeypatch.delenv("GLASSBENCH_MIRROR", raising=False)


def same(weights, state):
    ours = nets.from_torchvision("squeezenet1_0", state)
    return weights.keys() == ours.keys() and all(
        torch.equal(weights[key], ours[key]) for key in ours
    )


def test_file_hash_is_sha256(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    assert pretrained.file_hash(tmp_path / "f") == hashlib.sha256(b"abc").hexdigest()


def test_torchvisions_file_is_downloaded_once(tmp_path, site, state, monkeypatch):
    weights, source = pretrained.weights("squeezenet1_0", "imagenet", tmp_path)
    assert same(weights, state)
    assert source == {
        "source": "torchvision",
        "file": site.pth,
        "sha256": pretrained.file_hash(site.root / site.pth),
    }
    monkeypatch.setattr(
        torch.hub,
        "download_url_to_file",
        lambda *a, **k: pytest.fail("downloaded again"),
    )
    assert same(pretrained.weights("squeezenet1_0", "torchvision", tmp_path)[0], state)


def test_a_damaged_cache_is_replaced(tmp_path, site, state):
    (tmp_path / site.pth).write_bytes(b"half a file")
    assert same(pretrained.weights("squeezenet1_0", "torchvision", tmp_path)[0], state)


def test_wrong_bytes_are_refused(tmp_path, site, monkeypatch):
    url = f"{site.url}/{NPZ}"  # there, but it is another file
    enum = SimpleNamespace(
        IMAGENET1K_V1=SimpleNamespace(
            url=url.replace("_imagenet_deepcompression.npz", "-0badc0de.pth")
        )
    )
    (site.root / "squeezenet" / "squeezenet1_0-0badc0de.pth").write_bytes(
        b"another file"
    )
    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda name: enum)
    with pytest.raises(
        store.StoreError,
        match="cannot get ImageNet weights for squeezenet1_0 .*hash.* GLASSBENCH_MIRROR",
    ) as e:
        pretrained.weights("squeezenet1_0", "torchvision", tmp_path)
    assert "\n" not in str(e.value)
    assert list(tmp_path.iterdir()) == []


def test_a_mirror_may_be_a_folder(tmp_path, site, state, monkeypatch):
    monkeypatch.setenv("GLASSBENCH_MIRROR", str(site.root))
    weights, source = pretrained.weights(
        "squeezenet1_0", "imagenet", tmp_path / "cache"
    )
    assert same(weights, state)
    assert source["source"] == "deepcompression"
    assert not (tmp_path / "cache").exists()  # used in place


def test_a_mirror_may_be_an_url(tmp_path, site, state, monkeypatch):
    monkeypatch.setenv("GLASSBENCH_MIRROR", site.url + "/")
    weights, source = pretrained.weights("squeezenet1_0", "deepcompression", tmp_path)
    assert same(weights, state)
    assert source["sha256"] == site.npz_hash
    assert [p.name for p in tmp_path.iterdir()] == [Path(NPZ).name]


def test_no_network_and_no_mirror_names_both_ways_out(tmp_path, monkeypatch):
    enum = SimpleNamespace(
        IMAGENET1K_V1=SimpleNamespace(
            url="http://127.0.0.1:9/squeezenet1_0-b66bff10.pth"
        )
    )
    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda name: enum)
    with pytest.raises(
        store.StoreError, match="connect to the internet, or set GLASSBENCH_MIRROR"
    ):
        pretrained.weights("squeezenet1_0", "imagenet", tmp_path)
    with pytest.raises(store.StoreError, match="npz is on a mirror only"):
        pretrained.weights("squeezenet1_0", "deepcompression", tmp_path)
    with pytest.raises(
        store.StoreError, match="no deepcompression weights for vgg16; use torchvision"
    ):
        pretrained.weights("vgg16", "deepcompression", tmp_path)


def test_a_file_that_runs_code_is_not_run(tmp_path, site, monkeypatch):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/ran",)

    torch.save({"features.0.weight": Evil()}, tmp_path / "evil.pth")
    path = (tmp_path / "evil.pth").rename(
        tmp_path / f"evil-{pretrained.file_hash(tmp_path / 'evil.pth')[:8]}.pth"
    )
    enum = SimpleNamespace(
        IMAGENET1K_V1=SimpleNamespace(url=f"http://127.0.0.1:9/{path.name}")
    )
    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda name: enum)
    with pytest.raises(Exception, match="(?i)weights.only"):
        pretrained.weights("squeezenet1_0", "torchvision", tmp_path)
    assert not (tmp_path / "ran").exists()


def photos(n=24, test=12):
    rng = np.random.default_rng(0)
    y = np.arange(n + test, dtype=np.int64) % 2
    x = rng.integers(0, 200, (n + test, 3, 48, 48), dtype=np.uint8)
    x[y == 1, 0] //= 4  # the second class has little red
    arrays = {
        "x_train": x[:n],
        "y_train": y[:n],
        "x_test": x[n:],
        "y_test": y[n:],
        "classes": np.array(["red", "not"]),
    }
    return Dataset("photos", arrays)


@pytest.fixture
def fine_tuned(tmp_path, site, monkeypatch):
    """(Card, path of the weights) of a network whose head was trained on photographs."""
    monkeypatch.setenv("GLASSBENCH_MIRROR", str(site.root))
    recipe = {
        "net": "squeezenet1_0",
        "options": {"relu": False},
        "epochs": 8,
        "batch": 8,
        "lr": 0.01,
        "pretrained": "imagenet",
        "freeze_until": "fire9",
    }
    path = tmp_path / "s-0.safetensors"
    return training.train(photos(), recipe, 0, path), path


def test_fine_tuning_leaves_the_pretrained_weights(fine_tuned, state):
    trained, theirs = (
        store.read_weights(fine_tuned[1]),
        nets.from_torchvision("squeezenet1_0", state),
    )
    assert theirs
    assert all(torch.equal(trained[key], value) for key, value in theirs.items())


def test_the_card_says_what_was_fine_tuned(fine_tuned):
    card, path = fine_tuned
    target, batch = training.load(path), photos().batch("test")
    assert card["pretrained"]["source"] == "deepcompression"
    assert (card["mean"], card["std"]) == (pretrained.MEAN, pretrained.STD)
    assert card["layer"] == "fire9"
    assert (target(batch).argmax(1) == batch.y).double().mean().item() == card[
        "test_accuracy"
    ]


def test_fine_tuned_features_are_torchvisions(fine_tuned, state):
    target, batch = training.load(fine_tuned[1]), photos().batch("test")
    theirs = torchvision.models.squeezenet1_0()
    theirs.load_state_dict(state)
    mean, std = (
        torch.tensor(v)[:, None, None] for v in (pretrained.MEAN, pretrained.STD)
    )
    features = theirs.eval().features((batch.x - mean) / std)
    assert torch.allclose(target.features(batch), features, atol=1e-5)


def test_the_mirrors_file_is_the_named_one(monkeypatch, tmp_path):
    mirror = store.ROOT.parent / "shared" / "data"
    if not (mirror / NPZ).is_file():
        pytest.skip(f"no mirror at {mirror}")
    monkeypatch.setenv("GLASSBENCH_MIRROR", str(mirror))
    monkeypatch.setitem(pretrained.DEEP_COMPRESSION, "squeezenet1_0", (NPZ, NPZ_HASH))
    weights, source = pretrained.weights("squeezenet1_0", "imagenet", tmp_path)
    assert source == {
        "source": "deepcompression",
        "file": Path(NPZ).name,
        "sha256": NPZ_HASH,
    }
    assert weights["conv1.0.weight"].shape == (96, 3, 7, 7)
