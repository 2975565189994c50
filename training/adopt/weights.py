"""Read a file of weights that somebody sent, without running anything that is in it.

A .pt or .pth file is a pickle, and a pickle is a program. So tensors are read and nothing else: safetensors, or
torch's own reader of tensors alone (weights_only). A network saved whole is read as data when all its classes are of known
libraries: the names of its classes are never turned into the classes. Everything else is refused, with what to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from models.errors import BrokenModel

State = dict[str, Tensor]
INSIDE = ("state_dict", "model_state_dict", "model", "net", "state_dict_ema")  # where training loops put the weights
PREFIXES = ("module.", "model.", "net.", "backbone.", "_orig_mod.")  # what wrappers put before every name
MAX_BYTES = 8 * 1024**3
LIBRARIES = ("torch.nn.modules.", "torchvision.models.", "torchvision.ops.", "torchxrayvision.models.", "timm.")
MAX_DEPTH = 32  # modules inside modules
NAMED = 4  # names listed in a message; the rest is counted


def read_weights(path: Path) -> State:
    """Return the tensors of a file by name. Raises BrokenModel when it holds anything else, or numbers that are not finite."""
    if not path.is_file():
        raise BrokenModel(f"{path.name}: the file of weights must exist, found none. Fetch it first; nothing is downloaded here.")
    if path.stat().st_size > MAX_BYTES:
        raise BrokenModel(f"{path.name}: weights may take {MAX_BYTES:,} bytes, found {path.stat().st_size:,}.")
    state = _unwrapped(_safetensors(path) if path.suffix == ".safetensors" else _tensors_of_pickle(path), path)
    check_finite(state, path.name)
    return state


def check_finite(state: Mapping[str, Tensor], file: str) -> None:
    """Raise BrokenModel when any weight is NaN or infinite: the file is damaged, or the training ran away."""
    broken = [name for name, tensor in state.items() if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())]
    if broken:
        raise BrokenModel(f"{file}: weights must be finite, found NaN or infinity in {_some(broken)}. "
                          "The file is damaged or the training diverged; ask for another.")


def load_into(net: nn.Module, state: Mapping[str, Tensor], file: str, *, ignore: tuple[str, ...] = ()) -> None:
    """Put the weights into a network of the same shape. Raises BrokenModel naming what does not fit.

    ``ignore`` are beginnings of names that the file may have and the network need not.
    """
    wanted = net.state_dict()
    given = {name: tensor for name, tensor in state.items() if name in wanted or not name.startswith(ignore or ("\0",))}
    missing = [name for name in wanted if name not in given and not name.endswith("num_batches_tracked")]
    unknown = [name for name in given if name not in wanted]
    if missing or unknown:
        raise BrokenModel(f"{file}: the weights must be of this architecture; it has no {_some(missing) or 'missing tensor'} "
                          f"and {len(unknown)} that the architecture lacks ({_some(unknown) or 'none'}). "
                          "Check the name of the architecture.")
    unlike = [name for name in wanted if name in given and wanted[name].shape != given[name].shape]
    if unlike:
        name = unlike[0]
        raise BrokenModel(f"{file}: {name} must have the shape {tuple(wanted[name].shape)}, found {tuple(given[name].shape)}"
                          f"{f', and {len(unlike) - 1} more' if len(unlike) > 1 else ''}. "
                          "Check the number of classes and the architecture.")
    net.load_state_dict({**wanted, **given})


def _safetensors(path: Path) -> Mapping[str, object]:
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise BrokenModel(f"{path.name}: must be a whole safetensors file; it could not be read.") from error


class _Shell:
    """Stands for any class of a library of networks in a file: it holds what the object held, and does nothing."""


def _tensors_of_pickle(path: Path) -> Mapping[str, object]:
    """Read tensors, and whole networks of known libraries as data: of their classes only the names are looked at."""
    try:
        names = _classes_in(path)
        with torch.serialization.safe_globals([(_Shell, name) for name in names]):
            found = torch.load(path, map_location="cpu", weights_only=True)
        if isinstance(found, _Shell):
            found = dict(_tensors_of(found, "", 0))
    except Exception as error:  # torch raises pickle's, zip's and its own classes
        raise BrokenModel(f"{path.name}: the file must hold tensors alone; it holds objects that only running its code could "
                          f"make, or is damaged. {CONVERT}") from error
    if not isinstance(found, Mapping):
        raise BrokenModel(f"{path.name}: the file must hold tensors by name, found {type(found).__name__}. {CONVERT}")
    return found


def _classes_in(path: Path) -> list[str]:
    """Return the names of classes in a file when all are of libraries of networks; none when any is not."""
    try:
        names = [str(name) for name in torch.serialization.get_unsafe_globals_in_checkpoint(path)]
    except ValueError:  # the older format cannot be looked at without reading it
        return []
    return names if all(name.startswith(LIBRARIES) for name in names) else []


def _tensors_of(module: object, prefix: str, depth: int) -> Iterator[tuple[str, Tensor]]:
    """Yield the parameters and buffers of a network that was read as data, by the names state_dict gives them."""
    if depth > MAX_DEPTH or not isinstance(module, _Shell):
        return
    held = vars(module)
    for part in ("_parameters", "_buffers"):
        yield from ((f"{prefix}{name}", value) for name, value in dict(held.get(part, {})).items() if isinstance(value, Tensor))
    for name, inner in dict(held.get("_modules", {})).items():
        yield from _tensors_of(inner, f"{prefix}{name}.", depth + 1)


CONVERT = (
    "If you trust where it came from, convert it where nothing else can be harmed (a container, another account): "
    "load it there with the program that made it, and write its state_dict() with safetensors.torch.save_file. "
    "For TorchXRayVision: python -c \"import torchxrayvision as x, safetensors.torch as s; "
    "s.save_file(x.models.DenseNet(weights='densenet121-res224-all').state_dict(), 'xrv-all.safetensors')\""
)


def _unwrapped(found: Mapping[str, object], path: Path) -> State:
    """Return the tensors themselves: out of the dictionary of a training loop, without the names wrappers put before them."""
    for key in INSIDE:
        inner = found.get(key)
        if isinstance(inner, Mapping) and any(isinstance(value, Tensor) for value in inner.values()):
            found = inner
            break
    state = {str(name): tensor for name, tensor in found.items() if isinstance(tensor, Tensor)}
    if not state:
        raise BrokenModel(f"{path.name}: the file must hold tensors by name, found none. "
                          f"They are looked for at the top and in {', '.join(INSIDE)}.")
    for _ in range(2):  # module. around model., or the other way round
        for prefix in PREFIXES:
            if all(name.startswith(prefix) for name in state):
                state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
