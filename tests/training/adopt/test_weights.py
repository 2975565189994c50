"""Weights that others sent: tensors are read, code is never run, and what does not fit is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from models.errors import BrokenModel
from tests.training.adopt.make_classifiers import TinyNet
from training.adopt.nets import torchvision_net, xrv_row
from training.adopt.weights import load_into, read_weights


class Planted:
    """An object whose unpickling would write a file: what a hostile checkpoint does."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


def same(found: dict[str, torch.Tensor], net: nn.Module) -> bool:
    wanted = net.state_dict()
    return set(found) == set(wanted) and all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_tensors_are_read_from_safetensors_and_from_torch(tmp_path: Path) -> None:
    net = TinyNet()
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    torch.save(net.state_dict(), tmp_path / "w.pt")
    assert same(read_weights(tmp_path / "w.safetensors"), net)
    assert same(read_weights(tmp_path / "w.pt"), net)


def test_what_training_loops_put_around_the_weights_is_taken_off(tmp_path: Path) -> None:
    net = TinyNet()
    wrapped = {f"module.{name}": tensor for name, tensor in net.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": wrapped, "optimizer": {"lr": 0.1}}, tmp_path / "loop.pt")
    assert same(read_weights(tmp_path / "loop.pt"), net)


def test_a_whole_network_of_a_known_library_is_read_as_data(tmp_path: Path) -> None:
    net = TinyNet().features
    torch.save(net, tmp_path / "whole.pt")
    assert same(read_weights(tmp_path / "whole.pt"), net)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "before_1.6"])
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path: Path, new: bool) -> None:
    mark = tmp_path / "it ran"
    torch.save({"state_dict": {"w": torch.zeros(1)}, "extra": Planted(str(mark))}, tmp_path / "evil.pt",
               _use_new_zipfile_serialization=new)
    with pytest.raises(BrokenModel, match=r"only running its code could make.*convert it where nothing else can be harmed"):
        read_weights(tmp_path / "evil.pt")
    assert not mark.exists()


def test_a_class_nobody_knows_is_refused_with_how_to_convert(tmp_path: Path) -> None:
    torch.save(TinyNet(), tmp_path / "whole.pt")
    with pytest.raises(BrokenModel, match=r"save_file\(x\.models\.DenseNet"):
        read_weights(tmp_path / "whole.pt")


@pytest.mark.parametrize(("name", "content"), [("w.pt", b"PK\x03\x04 no"), ("w.safetensors", b"\xff" * 40), ("w.pt", b"")])
def test_a_damaged_file_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BrokenModel, match=r"damaged|could not be read"):
        read_weights(tmp_path / name)


def test_weights_that_are_not_numbers_are_refused_by_name(tmp_path: Path) -> None:
    state = TinyNet().state_dict()
    state["head.weight"][0, 0] = float("nan")
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(BrokenModel, match=r"NaN or infinity in head\.weight"):
        read_weights(tmp_path / "w.pt")


def test_a_file_that_is_not_there_is_said_to_be_fetched_by_the_user(tmp_path: Path) -> None:
    with pytest.raises(BrokenModel, match="nothing is downloaded here"):
        read_weights(tmp_path / "none.pt")


def test_weights_of_another_architecture_name_what_is_missing() -> None:
    state = {**TinyNet().state_dict()}
    state["spare.weight"] = state.pop("head.weight")
    with pytest.raises(BrokenModel, match=r"it has no head\.weight and 1 that the architecture lacks \(spare\.weight\)"):
        load_into(TinyNet(), state, "w.pt")


def test_another_number_of_classes_is_told_with_both_shapes() -> None:
    with pytest.raises(BrokenModel, match=r"shape \(5, 12\), found \(3, 12\).*number of classes"):
        load_into(TinyNet(5), TinyNet(3).state_dict(), "w.pt")


def test_architectures_that_do_not_exist_are_refused() -> None:
    for refused, why in ((lambda: torchvision_net("resnet19", 2, {}, "w"), "torchvision has no classifier 'resnet19'"),
                         (lambda: torchvision_net("fcn_resnet50", 2, {}, "w"), "no classifier"),
                         (lambda: xrv_row("densenet7"), "TorchXRayVision has no weights 'densenet7'")):
        with pytest.raises(BrokenModel, match=why):
            refused()
