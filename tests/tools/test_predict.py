"""`ocnet-predict`: images, and submissions that the official evaluator reads."""

import resource
import tracemalloc
import zipfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import SHORT, Main
from PIL import Image
from trees import ade20k_tree, cityscapes_tree, files, folder_tree, lip_tree, write_pair

import ocnet_pl
from ocnet_pl.atomic import whole_file
from ocnet_pl.build import build_data, build_network
from ocnet_pl.config.compose import compose_with_choices, plain
from ocnet_pl.dataset.reading import read_image
from ocnet_pl.drawing.overlay import colour, overlay
from ocnet_pl.inference import MultiScale
from ocnet_pl.run.evaluation import evaluate_checkpoint
from ocnet_pl.run.restoring import restore
from ocnet_pl.tools.predict import files as predictions
from ocnet_pl.tools.predict import prediction
from ocnet_pl.tools.predict.files import files_of
from ocnet_pl.tools.predict.prediction import predict_images
from ocnet_pl.tools.predict.submission import ORIGIN

CPU = torch.device("cpu")
SIZES = [(40, 60), (64, 48), (33, 70)]


def network_of(path: Path, *overrides: str) -> str:
    """Checkpoint of an untrained network that predicts many classes: on noise, no class dominates."""
    config, choices = compose_with_choices(*SHORT, *overrides)
    classes = build_data(config).classes
    network = build_network(config, len(classes))
    random = torch.Generator().manual_seed(1)
    torch.nn.init.normal_(network.classifier.weight, generator=random)
    noise = torch.randint(0, 256, (1, 3, 8, 8), generator=random).float()
    with torch.inference_mode():
        logits = network.eval()(F.interpolate(noise, (128, 128)))
        network.classifier.bias -= logits.mean((0, 2, 3))
    weights = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    content = {"config": plain(config), "choices": choices, "classes": list(classes), "state_dict": weights}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({**content, "global_step": 0}, path)
    return str(path)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return network_of(tmp_path_factory.mktemp("run") / "last.ckpt", "dataset=cityscapes", "dataset.num_workers=0")


@pytest.fixture
def pictures(workplace: Path) -> Path:
    """Three images in two folders, two with the same name."""
    rng = np.random.default_rng(0)
    for name, size in zip(("a/x.png", "b/x.jpg", "b/y.png"), SIZES, strict=True):
        write_pair(rng, workplace / "in" / name, workplace / "labels.png", size, [0])
    return workplace / "in"


def test_images_become_masks_overlays_and_probabilities(pictures: Path, checkpoint: str, call: Main) -> None:
    assert call("predict", checkpoint, "in", "--probabilities", "--out", "out") == 0
    restored = restore(Path(checkpoint), device=CPU)
    network, data = restored.predictor, restored.data
    for name, suffix in (("a/x", "png"), ("b/x", "jpg"), ("b/y", "png")):
        photograph = read_image(pictures / f"{name}.{suffix}")
        expected = ocnet_pl.load(checkpoint).predict(photograph)
        assert len(np.unique(expected)) > 2
        with Image.open(f"out/masks/{name}.png") as mask:
            assert mask.mode == "P"
            assert np.array_equal(data.decode(np.asarray(mask)), expected)
            assert np.array_equal(np.asarray(mask.convert("RGB")), colour(expected, data.palette))
        shown, seen = read_image(Path(f"out/overlays/{name}.jpg")), overlay(photograph, colour(expected, data.palette))
        assert np.abs(shown.astype(int) - seen).mean() < 8
        kept = np.load(f"out/probabilities/{name}.npz")
        assert kept["probabilities"].dtype == np.float16
        assert kept["probabilities"].shape == (19, *expected.shape)
        torch.testing.assert_close(
            torch.from_numpy(kept["probabilities"]).float(),
            network.predict_logits(photograph).softmax(0),
            atol=1e-3,
            rtol=0,
        )
        assert kept["classes"].tolist() == list(data.classes)
    assert len(list(files(Path("out")))) == 9


def test_only_requested_files_are_written(
    pictures: Path, checkpoint: str, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("predict", checkpoint, "in/b/x.jpg", "--no-overlay") == 0
    assert list(files(Path("outputs"))) == ["predictions/masks/x.png"]
    with Image.open("outputs/predictions/masks/x.png") as mask:
        stored, pixels = np.unique(np.asarray(mask), return_counts=True)
    printed = capsys.readouterr().out
    assert "outputs/predictions: masks for 1 of 1 images" in printed
    rows = [line.split() for line in printed.splitlines() if line.strip()[:1].isdigit()]
    shares = {int(number): float(share) for number, *_, share in rows}
    assert shares == pytest.approx(dict(zip(stored.tolist(), 100 * pixels / pixels.sum(), strict=True)), abs=0.01)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)


def test_unreadable_files_are_skipped_and_listed(
    pictures: Path, checkpoint: str, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "a" / "broken.png").write_bytes((pictures / "a" / "x.png").read_bytes()[:90])
    (pictures / "a" / "empty.jpg").touch()
    assert call("predict", checkpoint, "in") == 1
    printed = capsys.readouterr().err
    assert "2 of 5 images skipped" in printed
    assert "in/a/broken.png: cannot be decoded" in printed
    assert "in/a/empty.jpg: empty file" in printed
    assert len(list(files(Path("outputs/predictions/masks")))) == 3


def test_a_missing_checkpoint_is_reported_first(pictures: Path, call: Main, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("predict", "nowhere.ckpt", "in") == 2
    assert "nowhere.ckpt: no such file" in capsys.readouterr().err


def test_existing_files_are_kept_without_overwrite(
    pictures: Path, checkpoint: str, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = Path("out/overlays/b/y.jpg")
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    assert call("predict", checkpoint, "in", "--out", "out") == 2
    assert f"{mine}: already exists" in capsys.readouterr().err
    assert list(files(Path("out"))) == ["overlays/b/y.jpg"], "everything is checked before anything is written"
    assert call("predict", checkpoint, "in", "--out", "out", "--overwrite") == 0
    assert mine.read_bytes() != b"mine"


def without_text(path: Path) -> np.ndarray:
    with Image.open(path) as mask:
        return np.asarray(mask)


@pytest.mark.parametrize("killed_after", [1, 2, 3, 5])
def test_an_interrupted_prediction_continues(
    killed_after: int,
    pictures: Path,
    checkpoint: str,
    call: Main,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = ("predict", checkpoint, "in", "--out", "out", "--probabilities")
    assert call(*command, "--out", "whole") == 0
    writes = 0

    def interrupted(path: Path) -> AbstractContextManager[IO[bytes]]:
        nonlocal writes
        writes += 1
        if writes > killed_after:
            raise KeyboardInterrupt
        return whole_file(path)

    with monkeypatch.context() as patch:
        patch.setattr(predictions, "whole_file", interrupted)
        capsys.readouterr()
        assert call(*command) == 130
    assert capsys.readouterr().err.strip() == "ocnet-predict: interrupted"
    before = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*") if path.is_file()}
    assert len(before) == killed_after
    assert call(*command) == 0
    assert list(files(Path("out"))) == list(files(Path("whole")))
    for name in files(Path("out/masks")):
        assert np.array_equal(without_text(Path("out/masks", name)), without_text(Path("whole/masks", name)))
    kept = [path for path, time in before.items() if path.stat().st_mtime_ns == time]
    assert len(kept) == 3 * (killed_after // 3), "complete results are not predicted again"
    written = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*") if path.is_file()}
    assert call(*command) == 0
    assert {path: path.stat().st_mtime_ns for path in written} == written


@pytest.mark.parametrize("other", ["protocol", "network", "image", "foreign"])
def test_a_prediction_never_continues_with_other_settings(
    other: str, pictures: Path, checkpoint: str, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("predict", checkpoint, "in", "--out", "out") == 0
    (lost, mask) = sorted(Path("out/masks").rglob("*.png"))[:2]
    lost.unlink()
    network, more, words = checkpoint, [], "already exists"
    if other == "protocol":
        more, words = ["inference=sliding"], "WholeImage -> ocnet_pl.inference.SlidingWindow"
    elif other == "network":
        network = network_of(workplace / "other.ckpt", "dataset=cityscapes", "model/head=gp")
        words = "weights: "
    elif other == "image":
        write_pair(np.random.default_rng(7), pictures / "b" / "x.jpg", workplace / "labels.png", (40, 60), [0])
        words = "another image"
    else:
        Image.fromarray(without_text(mask)).save(mask)
    kept = {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    capsys.readouterr()
    command = ("predict", network, "in", "--out", "out", *more)
    assert call(*command) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert words in error
    assert "--overwrite" in error
    assert {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()} == kept
    assert call(*command, "--overwrite") == 0
    assert len(list(files(Path("out")))) == 6


def test_a_skipped_image_is_predicted_once_it_is_readable(pictures: Path, checkpoint: str, call: Main) -> None:
    whole = (pictures / "a" / "x.png").read_bytes()
    (pictures / "a" / "x.png").write_bytes(whole[:90])
    assert call("predict", checkpoint, "in") == 1
    (pictures / "a" / "x.png").write_bytes(whole)
    assert call("predict", checkpoint, "in") == 0
    assert len(list(files(Path("outputs/predictions/masks")))) == 3


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff", b'{"split": NaN}', b"[" * 9999])
def test_a_damaged_record_of_a_submission_is_reported(
    content: bytes, sent: tuple[str, ...], call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("sent", ORIGIN).write_bytes(content)
    whole = list(files(Path("sent")))
    capsys.readouterr()
    assert call(*sent) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert list(files(Path("sent"))) == whole


def test_an_input_image_is_never_overwritten(
    workplace: Path, checkpoint: str, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = workplace / "masks" / "x.png"
    write_pair(np.random.default_rng(0), picture, workplace / "label.png", (32, 32), [0])
    before = picture.read_bytes()
    assert call("predict", checkpoint, "masks/x.png", "--out", ".", "--overwrite", "--no-overlay") == 2
    assert "overwrite an input image" in capsys.readouterr().err
    assert picture.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "or split="),
        (["in", "split=val"], "or split="),
        (["split=val", "--probabilities"], "for images"),
        (["nowhere.png"], "no such file or folder"),
        (["in", "inference=sliding_windows"], "did you mean inference=sliding?"),
        (["in", "model/head=gp"], "head base_oc, not gp"),
        (["in", "trainer=cpu"], "trainer"),
        (["in", "dataset=lip"], "not those of LIP"),
        (["split=val", "dataset.root=/nowhere"], "expected the official tree"),
        (["in", "--out", "in/a/x.png"], "cannot be written"),
    ],
)
def test_wrong_input_is_one_line(
    arguments: list[str],
    words: str,
    pictures: Path,
    checkpoint: str,
    call: Main,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call("predict", checkpoint, *arguments) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("ocnet-predict: error: ")
    assert "\n" not in error
    assert words in error


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_reported(
    pictures: Path, checkpoint: str, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("predict", checkpoint, "in", "--device", "cuda") == 2
    assert "no CUDA device" in capsys.readouterr().err


def test_the_requested_protocol_is_used(pictures: Path, checkpoint: str) -> None:
    network = restore(Path(checkpoint), ["inference=multi_scale"], device=CPU).predictor
    photograph = read_image(pictures / "b" / "y.png")
    batch = torch.from_numpy(photograph).permute(2, 0, 1)[None]
    with torch.inference_mode():
        expected = MultiScale()(network.network, batch).whole()[0]
        plainly = network.network(batch)[0]
    torch.testing.assert_close(network.predict_logits(photograph), expected)
    assert (expected - plainly).abs().max() > 1e-3


def test_memory_does_not_grow(workplace: Path, checkpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    restored = restore(Path(checkpoint), device=CPU)
    write_pair(np.random.default_rng(0), workplace / "0.png", workplace / "label.png", (96, 128), [0])
    images = [workplace / f"{number}.png" for number in range(1, 101)]
    for image in images:
        image.hardlink_to(workplace / "0.png")
    plan = {
        image: files_of(workplace / "out", image.stem, overlay=True, probabilities=number % 8 == 0)
        for number, image in enumerate(images)
    }
    python, process = [], []

    def watch() -> None:
        python.append(tracemalloc.get_traced_memory()[0])  # numpy's arrays are in it
        process.append(int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize())

    monkeypatch.setattr(prediction, "progress_of", lambda *_: nullcontext(watch))
    tracemalloc.start()
    outcome = predict_images(restored, workplace / "out", plan, plan, palette=True)
    tracemalloc.stop()
    assert outcome.pixels.sum() == 100 * 96 * 128
    assert python[-1] - python[20] < 80 * 1000, "a photograph has 36 kB"
    assert process[-1] - process[20] < 20e6, "80 times the logits are 75 MB"


def test_an_image_too_large_for_the_gpu_is_skipped(
    pictures: Path, checkpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    restored = restore(Path(checkpoint), device=CPU)
    network = restored.predictor
    predict = network.predict

    def at_most(photograph: np.ndarray) -> np.ndarray:
        if photograph.shape[0] > 60:
            raise torch.OutOfMemoryError
        return predict(photograph)

    monkeypatch.setattr(network, "predict", at_most)
    plan = {
        picture: files_of(Path("out"), picture.stem, overlay=False, probabilities=False)
        for picture in (pictures / "a/x.png", pictures / "b/x.jpg")
    }
    outcome = predict_images(restored, Path("out"), plan, plan, palette=True)
    assert len(outcome.skipped) == 1
    assert "b/x.jpg: 48x64 pixels" in outcome.skipped[0]
    assert list(files(Path("out"))) == ["masks/x.png"]


@pytest.mark.filterwarnings("ignore")
def test_the_official_evaluator_agrees(
    workplace: Path, checkpoint: str, call: Main, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = cityscapes_tree(workplace / "tree", val=[*SIZES, (64, 128)] * 3)
    overrides = "dataset=cityscapes", f"dataset.root={root}", "split=val", "dataset.num_workers=0"
    assert call("predict", checkpoint, *overrides, "--out", "results") == 0
    ours = evaluate_checkpoint(Path(checkpoint), [*overrides, "trainer=cpu"]).evaluation

    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official  # noqa: N813

    truths = sorted(map(str, root.glob("gtFine/val/*/*_gtFine_labelIds.png")))
    monkeypatch.setenv("CITYSCAPES_RESULTS", "results")
    arguments = official.args
    arguments.evalInstLevelScore = arguments.JSONOutput = False
    arguments.quiet = True
    found = [official.getPrediction(arguments, truth) for truth in truths]
    theirs = official.evaluateImgLists(found, truths, arguments)
    assert len(found) == 12
    assert theirs["averageScoreClasses"] == pytest.approx(ours.miou, abs=1e-6)
    assert sum(0 < iou < 1 for iou in ours.iou.values() if iou is not None) > 4, (
        "otherwise the comparison proves nothing"
    )
    for name, iou in ours.iou.items():
        expected = theirs["classScores"][name]
        assert np.isnan(expected) if iou is None else iou == pytest.approx(expected, abs=1e-6)


def submission(workplace: Path, call: Main, root: Path, *overrides: str) -> dict[str, np.ndarray]:
    """Content of the zip that the command writes for the split test."""
    checkpoint = network_of(workplace / "last.ckpt", *overrides)
    assert call("predict", checkpoint, "split=test", f"dataset.root={root}", "--out", "sent") == 0
    masks = {}
    with zipfile.ZipFile("sent.zip") as archive:
        assert {*archive.namelist(), ORIGIN} == set(files(Path("sent")))
        assert archive.namelist() == sorted(archive.namelist())
        for name in archive.namelist():
            with archive.open(name) as file, Image.open(file) as mask:
                assert mask.mode == "L"
                masks[name] = np.asarray(mask)
    restored = restore(Path(checkpoint), [f"dataset.root={root}"], device=CPU)
    network, data = restored.predictor, restored.data
    for image, mask in zip(data.image_files("test"), masks.values(), strict=True):
        assert np.array_equal(data.decode(mask), network.predict(read_image(image)))
    return masks


def test_cityscapes_submission(workplace: Path, call: Main) -> None:
    root = cityscapes_tree(workplace / "tree", test=SIZES)
    for label in (root / "gtFine").rglob("*.png"):
        label.unlink()
    masks = submission(workplace, call, root, "dataset=cityscapes")
    assert list(masks)[1] == "town_000001_000019_pred_labelIds.png"
    assert [mask.shape for mask in masks.values()] == SIZES
    assert set(np.unique(np.concatenate([mask.ravel() for mask in masks.values()]))) <= {7, 8, *range(11, 34)}


@pytest.mark.parametrize("beside", [True, False])
def test_ade20k_submission(beside: bool, workplace: Path, call: Main) -> None:
    root = ade20k_tree(workplace / "ADEChallengeData2016", train=SIZES, val=SIZES)
    released = (workplace if beside else root) / "release_test" / "testing"
    for number, size in enumerate(SIZES, 1):
        image = released / f"ADE_test_{number:08d}.jpg"
        write_pair(np.random.default_rng(number), image, workplace / "label.png", size, [0])
    masks = submission(workplace, call, root, "dataset=ade20k", "dataset.test_short_side=40")
    assert list(masks) == [f"ADE_test_{number:08d}.png" for number in (1, 2, 3)]
    assert [mask.shape for mask in masks.values()] == SIZES
    assert all(mask.min() >= 1 and mask.max() <= 150 for mask in masks.values())


@pytest.mark.parametrize("layout", ["official", "nested", "flat"])
def test_lip_submission(layout: str, workplace: Path, call: Main) -> None:
    root = lip_tree(workplace / "lip", layout, train=SIZES, val=SIZES)
    folder = {"official": "Testing_images", "nested": "Testing_images/Testing_images", "flat": "."}[layout]
    images = root / folder / ("test_images" if layout == "flat" else "testing_images")
    for number, size in enumerate(SIZES):
        image = images / f"100034_48368{number}.jpg"
        write_pair(np.random.default_rng(number), image, workplace / "label.png", size, [0])
    (root / folder / "test_id.txt").write_text("".join(f"100034_48368{number}\n" for number in range(3)))
    masks = submission(workplace, call, root, "dataset=lip", "dataset.size=[40,40]")
    assert list(masks) == [f"100034_48368{number}.png" for number in range(3)]
    assert [mask.shape for mask in masks.values()] == SIZES
    assert all(mask.max() <= 19 for mask in masks.values())


def test_names_in_a_users_own_folder_cannot_collide(workplace: Path, call: Main) -> None:
    root = folder_tree(workplace / "mine", train=SIZES, val=SIZES)
    (root / "test.txt").write_text("train/000\nval/000\n")
    masks = submission(workplace, call, root, "dataset=folder", "dataset.classes=[a,b,c]", "dataset.ids=[0,7,255]")
    assert list(masks) == ["train/000.png", "val/000.png"]
    assert set(np.unique(masks["val/000.png"])) <= {0, 7, 255}


def test_an_incomplete_submission_has_no_archive(
    workplace: Path, checkpoint: str, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    root = cityscapes_tree(workplace / "tree", test=SIZES)
    (image, *_) = (root / "leftImg8bit").rglob("*000001_000019_leftImg8bit.png")
    image.write_bytes(image.read_bytes()[:90])
    assert call("predict", checkpoint, "split=test", f"dataset.root={root}") == 1
    printed = capsys.readouterr().err
    assert str(image) in printed
    assert "needs every image" in printed
    assert [path.name for path in Path("outputs/submissions").iterdir()] == ["cityscapes-test"]


@pytest.fixture
def sent(workplace: Path, checkpoint: str, call: Main) -> tuple[str, ...]:
    """Command that wrote the submission `sent`."""
    root = cityscapes_tree(workplace / "tree", test=SIZES)
    command = ("predict", checkpoint, "split=test", f"dataset.root={root}", "--out", "sent")
    assert call(*command) == 0
    return command


def test_an_interrupted_submission_continues_and_a_complete_one_is_kept(
    sent: tuple[str, ...], call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = {path: path.read_bytes() for path in Path("sent").iterdir()}
    written = {path: path.stat().st_mtime_ns for path in (*whole, Path("sent.zip"))}
    assert call(*sent) == 0
    assert {path: path.stat().st_mtime_ns for path in written} == written

    Path("sent.zip").unlink()  # the state after a kill
    (_, lost, _) = sorted(Path("sent").glob("*.png"))
    lost.unlink()
    capsys.readouterr()
    assert call(*sent) == 0
    assert "2 of 3 images already predicted" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in Path("sent").iterdir()} == whole
    assert {path for path in whole if path.stat().st_mtime_ns != written[path]} == {lost, Path("sent", ORIGIN)}
    with zipfile.ZipFile("sent.zip") as archive:
        assert len(archive.namelist()) == 3


def test_a_submission_never_mixes_two_protocols(
    sent: tuple[str, ...], call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = list(files(Path("sent")))
    capsys.readouterr()
    assert call(*sent, "inference=sliding") == 2
    printed = capsys.readouterr().err
    assert "inference._target_: ocnet_pl.inference.WholeImage -> ocnet_pl.inference.SlidingWindow" in printed
    assert "--overwrite" in printed
    assert list(files(Path("sent"))) == whole
    assert call(*sent, "inference=sliding", "--overwrite") == 0
    assert "SlidingWindow" in Path("sent", ORIGIN).read_text()
    Path("sent", ORIGIN).unlink()  # the origin of the masks is unknown
    assert call(*sent, "inference=sliding") == 2
