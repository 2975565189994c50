"""What cannot be taken over with the same numbers is refused: by name, with the reason, and nothing is left on the shelf."""

from __future__ import annotations

import shutil
import zipfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from models.check import check
from models.errors import BrokenModel
from models.manifest import read_manifest
from tests.training.adopt_bundle.bundles import METADATA, SPLEEN, before, changed, make_bundle
from training.adopt_bundle import bundle as room
from training.adopt_bundle.adopt import Adopted, adopt
from training.adopt_bundle.description import Description, read_description

UNET = SPLEEN["network_def"]


def transform(name: str, **given: Any) -> dict[str, Any]:
    return {"_target_": name, "keys": "image", **given}


def prediction(name: str, **given: Any) -> dict[str, Any]:
    return {"_target_": name, "keys": "pred", **given}


def after(*transforms: dict[str, Any]) -> dict[str, Any]:
    return {"_target_": "Compose", "transforms": list(transforms)}


SOFTMAX, ARGMAX = prediction("Activationsd", softmax=True), prediction("AsDiscreted", argmax=True)
BACK = prediction("Invertd", transform="@preprocessing", orig_keys="image", nearest_interp=True)

# What the message must say → what is changed of the spleen bundle.
REFUSED: dict[str, dict[str, Any]] = {
    "RandGaussianNoised has no counterpart": {"preprocessing": before(transform("RandGaussianNoised", prob=0.1))},
    "scripts.my.Windowed has no counterpart": {"preprocessing": before(transform("scripts.my.Windowed"))},
    "no Orientationd": {"preprocessing": before(drop="Orientationd")},
    "Spacing .* mode must be bilinear or 1 or 1, found nearest": {"preprocessing": before(
        transform("Spacingd", pixdim=[1, 1, 1], mode="nearest"))},
    "Spacing .* pixdim must be three numbers": {"preprocessing": before(transform("Spacingd", pixdim=[1, 1]))},
    "Spacing .* nothing here does what shear asks": {"preprocessing": before(transform("Spacingd", pixdim=1.0, shear=2))},
    "lazy must be False": {"preprocessing": before(transform("Orientationd", axcodes="RAS", lazy=True))},
    "Resize .* mode must be area or trilinear": {"preprocessing": before(transform("Resized", spatial_size=8, mode="nearest"))},
    "EnsureType .* float32 or float64, found float16": {"preprocessing": before(transform("EnsureTyped", dtype="float16"))},
    "CropForeground .* source_key must be the image": {"preprocessing": before(transform("CropForegroundd", source_key="label"))},
    r"transforms::5::select_fn is a program": {"preprocessing": before(
        transform("CropForegroundd", source_key="image", select_fn="$lambda x: x > x.mean()"))},
    "takes 4 image channels": {"network_def": {**UNET, "in_channels": 4}},
    r"must take volumes \(spatial_dims 3\), found 2": {"network_def": {**UNET, "spatial_dims": 2}},
    "must be one of monai.networks.nets .* found scripts.net.MyNet": {"network_def": {"_target_": "scripts.net.MyNet"}},
    "must be one of monai.networks.nets .* found AutoEncoder": {"network_def": {"_target_": "AutoEncoder"}},
    "inferer must be SlidingWindowInferer or SimpleInferer, found SliceInferer": {"inferer": {"_target_": "SliceInferer"}},
    "SimpleInferer takes volumes of any size": {"inferer": {"_target_": "SimpleInferer"}},
    "roi_size must be positive": {"inferer": {"_target_": "SlidingWindowInferer", "roi_size": [32, 32, -1]}},
    "padding_mode must be constant, found reflect": {"inferer": {**SPLEEN["inferer"], "padding_mode": "reflect"}},
    "must say how its scores become labels": {"postprocessing": after(SOFTMAX)},
    "2 channels need argmax": {"postprocessing": after(SOFTMAX, prediction("AsDiscreted", threshold=0.5))},
    "2 channels with a sigmoid each may overlap": {"postprocessing": after(prediction("Activationsd", sigmoid=True), ARGMAX)},
    "to_onehot must be None": {"postprocessing": after(prediction("AsDiscreted", argmax=True, to_onehot=2))},
    "labels cannot be interpolated linearly": {"postprocessing": after(SOFTMAX, ARGMAX, {**BACK, "nearest_interp": False})},
    "go back over the transforms before the network": {"postprocessing": after(
        SOFTMAX, ARGMAX, {**BACK, "transform": {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"}})},
    "KeepLargestConnectedComponent .* before Invertd": {"postprocessing": after(
        SOFTMAX, ARGMAX, BACK, prediction("KeepLargestConnectedComponentd", applied_labels=[1]))},
    "applied_labels must be labels of the network": {"postprocessing": after(
        SOFTMAX, ARGMAX, prediction("KeepLargestConnectedComponentd", applied_labels=[2]))},
    "FillHolesd has no counterpart after the network": {"postprocessing": after(SOFTMAX, ARGMAX, prediction("FillHolesd"))},
    "MeanEnsembled has no counterpart": {"postprocessing": after(prediction("MeanEnsembled"), ARGMAX)},
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_config_without_an_exact_counterpart_is_refused(why: str, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    make_config(bundle, changed(**REFUSED[why]))
    with pytest.raises(BrokenModel, match=why):
        adopt(bundle, Description(), tmp_path / "shelf")
    assert not (tmp_path / "shelf").exists()


def make_config(bundle: Path, config: dict[str, Any]) -> None:
    import json

    (bundle / "configs" / "inference.json").write_text(json.dumps(config))


def test_several_mr_sequences_at_once_are_refused_as_the_network_takes_them(tmp_path: Path) -> None:
    brats = changed(
        network_def={"_target_": "SegResNet", "spatial_dims": 3, "in_channels": 4, "out_channels": 3, "init_filters": 8},
        preprocessing={"_target_": "Compose", "transforms": [
            transform("LoadImaged"), transform("Orientationd", axcodes="RAS"),
            transform("NormalizeIntensityd", nonzero=True, channel_wise=True)]},
        postprocessing=after(prediction("Activationsd", sigmoid=True), BACK, prediction("AsDiscreted", threshold=0.5)),
    )
    with pytest.raises(BrokenModel, match="4 image channels at once, as several MR sequences; a case here is one series"):
        adopt(make_bundle(tmp_path / "bundle", config=brats), Description(), tmp_path / "shelf")


def test_torchscript_alone_is_refused_with_what_to_ask_for(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    (bundle / "models" / "model.pt").rename(bundle / "models" / "model.ts")
    with pytest.raises(BrokenModel, match=r"models/model\.pt, found model\.ts\. A model\.ts is a program"):
        adopt(bundle, Description(), tmp_path / "shelf")


class Harmful:
    """What runs when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("/tmp/never-made-by-a-bundle"),))


def test_weights_that_are_a_program_are_not_run(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    torch.save({"state_dict": Harmful()}, bundle / "models" / "model.pt")
    with pytest.raises(BrokenModel, match=r"model.pt: the file must hold tensors alone"):
        adopt(bundle, Description(), tmp_path / "shelf")
    assert not Path("/tmp/never-made-by-a-bundle").exists()


def test_weights_of_another_network_or_damaged_are_refused(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", config=changed(network_def={**UNET, "channels": [6, 8, 8]}))
    make_config(bundle, SPLEEN)
    with pytest.raises(BrokenModel, match=r"must have the shape"):
        adopt(bundle, Description(), tmp_path / "shelf")
    bundle = make_bundle(tmp_path / "other")
    state = torch.load(bundle / "models" / "model.pt", weights_only=True)
    next(iter(state.values())).fill_(float("nan"))
    torch.save(state, bundle / "models" / "model.pt")
    with pytest.raises(BrokenModel, match="weights must be finite"):
        adopt(bundle, Description(), tmp_path / "shelf")


def metadata(**outputs: Any) -> dict[str, Any]:
    made = deepcopy(METADATA)
    made["network_data_format"]["outputs"]["pred"].update(outputs)
    return made


def test_labels_need_a_background_and_a_name(tmp_path: Path) -> None:
    for i, (channels, why) in enumerate((({"0": "liver", "1": "spleen"}, "Channel 0 .* must be the background"),
                                         ({"0": "background"}, "Label 1 needs a name"),
                                         ({"0": "background", "1": "spleen", "2": "liver"}, "name channels .* the network has 2"))):
        bundle = make_bundle(tmp_path / str(i), metadata=metadata(channel_def=channels))
        with pytest.raises(BrokenModel, match=why):
            adopt(bundle, Description(), tmp_path / "shelf")


def test_a_modality_that_nobody_tells_is_asked_for(tmp_path: Path) -> None:
    made = deepcopy(METADATA)
    del made["network_data_format"]["inputs"]["image"]["modality"]
    bundle = make_bundle(tmp_path / "bundle", metadata=made)
    with pytest.raises(BrokenModel, match=r"do not tell its modality .* modality ="):
        adopt(bundle, Description(), tmp_path / "shelf")
    assert read_manifest(adopt(bundle, Description(modality="MR"), tmp_path / "shelf").folder).accepts.modalities == ["MR"]


@pytest.fixture(scope="module")
def adopted(tmp_path_factory: pytest.TempPathFactory) -> Adopted:
    folder = tmp_path_factory.mktemp("adopted")
    return adopt(make_bundle(folder / "bundle"), Description(), folder / "shelf")


def test_a_version_is_adopted_once(adopted: Adopted) -> None:
    with pytest.raises(FileExistsError, match="releases never change"):
        adopt(adopted.folder.parents[1] / "bundle", Description(), adopted.folder.parent)


def test_a_zip_is_adopted_like_its_folder_and_writes_nothing_outside(tmp_path: Path, adopted: Adopted) -> None:
    bundle = make_bundle(tmp_path / "spleen")
    archive = tmp_path / "spleen.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(bundle.rglob("*.*")):
            file.write(path, f"spleen/{path.relative_to(bundle)}")
        file.writestr("spleen/../../escaped.txt", "never")
        file.writestr("spleen/scripts/__init__.py", "raise SystemExit")
    one = adopt(archive, Description(version="1.0.0"), tmp_path / "shelf")
    assert read_manifest(one.folder).files["model.onnx"] == read_manifest(adopted.folder).files["model.onnx"]
    assert not list(tmp_path.rglob("escaped.txt"))
    assert not (tmp_path.parent / "escaped.txt").exists()


def test_a_zip_that_unpacks_to_more_than_it_may_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "spleen"), "zip", make_bundle(tmp_path / "bundle")))
    monkeypatch.setattr(room, "MAX_WEIGHT_BYTES", 1_000)
    with pytest.raises(BrokenModel, match=r"spleen.zip: models/model.pt may hold 1,000 bytes"):
        adopt(archive, Description(), tmp_path / "shelf")


def test_the_card_lists_what_nobody_told_and_what_became_of_each_transform(adopted: Adopted) -> None:
    card = (adopted.folder / "CARD.md").read_text(encoding="utf-8")
    assert "## What is not known" in card
    assert "The licence of the weights" in card
    assert "Not evaluated here." in card
    assert "| Spacing | respace |" in card
    assert "| SaveImage | not taken: labels are written as DICOM SEG |" in card
    assert '"status": "not evaluated"' in (adopted.folder / "evaluation.json").read_text(encoding="utf-8")
    assert check(adopted.folder)


def test_what_the_description_tells_is_no_longer_unknown(tmp_path: Path) -> None:
    described = tmp_path / "describe.toml"
    described.write_text(
        'licence = "Apache-2.0"\ntitle_fr = "Rate au scanner"\nbody_parts = ["ABDOMEN"]\nage_years = {low = 18}\n'
        '[[labels]]\nlabel = 1\nname = "spleen"\ntext_fr = "rate"\n'
        'code = {system = "http://snomed.info/sct", code = "78961009", display = "Splenic structure (body structure)"}\n'
    )
    done = adopt(make_bundle(tmp_path / "bundle"), read_description(described), tmp_path / "shelf")
    manifest = read_manifest(done.folder)
    assert (manifest.licence, manifest.title_fr, manifest.accepts.body_parts) == ("Apache-2.0", "Rate au scanner", ["ABDOMEN"])
    assert manifest.outputs[0].code.code == "78961009"
    assert manifest.outputs[0].label_fr == "Volume (rate)"
    assert not any("licence of the weights" in gap or "ages" in gap or "standard code" in gap for gap in done.gaps)


def test_the_command_adopts_and_writes_a_description_that_it_can_read(tmp_path: Path) -> None:
    import typer

    from training.adopt_bundle.commands import bundle as command

    app = typer.Typer()
    app.command()(command)
    bundle, described = make_bundle(tmp_path / "bundle"), tmp_path / "describe.toml"
    wrote = CliRunner().invoke(app, [str(bundle), "--write-describe", str(described)])
    assert wrote.exit_code == 0, wrote.output
    made = CliRunner().invoke(app, [str(bundle), "--describe", str(described), "--shelf", str(tmp_path / "shelf")])
    assert made.exit_code == 0, made.output
    assert "spleen_ct_segmentation-0.5.9" in made.output
    again = CliRunner().invoke(app, [str(bundle), "--shelf", str(tmp_path / "shelf")])
    assert again.exit_code == 1
    assert "refused" in again.output
