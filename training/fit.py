"""Fit a network from a recipe, top to bottom: data, network, optimiser, loop. A killed run goes on where it was.

What is kept is the exponential average of the weights (Polyak 1992): steadier than the last step, at no cost when
serving.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from training import several
from training.losses import LOSSES
from training.nets import NETS
from training.recipe import Recipe
from training.sets import TASK_SETS, TaskSet
from training.tracking import tracked


def fit(recipe: Recipe, out: Path, root: Path, *, quick: bool = False, threads: int | None = None, task: TaskSet | None = None,
        start: Path | None = None, track: bool = False) -> Path:
    """Fit ``recipe`` on the data under ``root`` and return the checkpoint, ``out/checkpoint.pt``.

    Runs on the GPU (bf16 autocast) when there is one, else on the CPU; on several under torchrun (training/several.py).
    ``quick`` takes every twelfth case and one epoch a stage. Fitting again with the same ``out`` resumes after the last whole
    epoch. ``task`` are other data than the recipe's, ``start`` is a checkpoint whose network is gone on from.
    """
    if threads:
        torch.set_num_threads(threads)
    random.seed(recipe.seed)
    np.random.seed(recipe.seed)
    torch.manual_seed(recipe.seed)
    group = several.here()
    device = group.device
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "checkpoint.pt"
    console = Console(quiet=not group.first)

    console.print(f"[bold]{recipe.name}[/bold] {recipe.version}: reading data")
    task = task or TASK_SETS[recipe.task](recipe, root, quick=quick)
    options = recipe.fit
    stages = [(tuple(np.atleast_1d(stage["size"]).tolist()), 1 if quick else int(stage["epochs"])) for stage in options["stages"]]
    sizes = [size for size, epochs in stages for _ in range(epochs)]  # small first: cheap epochs learn the gross things
    batch = int(options["batch"])
    steps_per_epoch = max(1, task.count // batch)

    layout = torch.channels_last if recipe.task == "radiograph" else torch.channels_last_3d
    settings = recipe.net
    net = NETS[settings.pop("name")](**settings).to(device, memory_format=layout)
    if start is not None:
        net.load_state_dict(fitted(recipe, start).state_dict())
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(float(options["average"])), use_buffers=True)
    decayed = [p for p in net.parameters() if p.ndim > 1]
    plain = [p for p in net.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": float(options["weight_decay"])}, {"params": plain, "weight_decay": 0.0}],
        lr=float(options["rate"]),
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=float(options["rate"]), total_steps=steps_per_epoch * len(sizes) + 1, pct_start=0.15
    )

    done, history = 0, []
    if checkpoint.is_file():
        kept = torch.load(checkpoint, map_location=device, weights_only=True)
        if kept["recipe_sha256"] != recipe.sha256 or kept["quick"] != quick:
            raise ValueError(f"{checkpoint} was made from another recipe. Choose another folder or remove it.")
        net.load_state_dict(kept["net"])
        average.load_state_dict(kept["average"])
        optimiser.load_state_dict(kept["optimiser"])
        schedule.load_state_dict(kept["schedule"])
        done, history = kept["epochs"], kept["history"]
        console.print(f"resuming after epoch {done} of {len(sizes)}")

    model, stepped = group.prepare(net, optimiser)

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress, tracked("fit", recipe.name, wanted=track and group.first) as run:
        run.params({"recipe_sha256": recipe.sha256, "version": recipe.version, "quick": quick, "cases": task.count, **options})
        bar = progress.add_task(recipe.name, total=steps_per_epoch * len(sizes), completed=steps_per_epoch * done)
        for epoch in range(done, len(sizes)):
            seed = recipe.seed * 1000 + epoch
            rng = torch.Generator().manual_seed(seed)
            torch.manual_seed(seed)  # dropout draws from here: a resumed epoch drops the same
            order = torch.randperm(task.count, generator=rng)
            group.separate(rng, seed)
            net.train()
            total, started = 0.0, time.monotonic()
            for step in range(steps_per_epoch):
                drawn = task.draw(group.part(order[step * batch : (step + 1) * batch]), sizes[epoch], rng)
                drawn = {name: value.to(device) for name, value in drawn.items()}
                with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                    outputs = model(drawn["inputs"].contiguous(memory_format=layout))
                loss = LOSSES[recipe.task]({k: v.float() for k, v in outputs.items()}, drawn)
                stepped.zero_grad(set_to_none=True)
                group.backward(loss)
                torch.nn.utils.clip_grad_norm_(net.parameters(), 2.0)
                stepped.step()
                schedule.step()
                average.update_parameters(net)
                total += float(loss.detach())
                progress.advance(bar)
            mean_loss = group.mean(total / steps_per_epoch)
            if not group.first:
                group.wait()
                continue
            average.eval()
            with torch.no_grad():
                scores = task.check(average.module)
            history.append({"epoch": epoch + 1, "size": list(sizes[epoch]), "loss": mean_loss, **scores})
            run.figures({name: value for name, value in history[-1].items() if name != "epoch"}, step=epoch + 1)
            line = "  ".join(f"{k} {v:.4f}" for k, v in history[-1].items() if isinstance(v, float))
            console.print(f"epoch {epoch + 1:3d}  {line}  {time.monotonic() - started:.0f} s")
            state = {
                "recipe_sha256": recipe.sha256, "quick": quick, "epochs": epoch + 1, "history": history,
                "net": net.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict(),
                "schedule": schedule.state_dict(), "torch": str(torch.__version__),
            }
            torch.save(state, checkpoint.with_suffix(".part"))
            checkpoint.with_suffix(".part").replace(checkpoint)  # a kill leaves the old one whole
            group.wait()
    return checkpoint


def fitted(recipe: Recipe, checkpoint: Path) -> torch.nn.Module:
    """Return the averaged network of a checkpoint in evaluation mode on the CPU.

    Raises ValueError for a checkpoint of ``quick``: a toy is never released.
    """
    settings = recipe.net
    net = NETS[settings.pop("name")](**settings)
    average = AveragedModel(net)
    kept = torch.load(checkpoint, map_location="cpu", weights_only=True)
    if kept["quick"]:
        raise ValueError(f"{checkpoint} is a toy made with --quick. Fit again without it.")
    average.load_state_dict(kept["average"])
    module: torch.nn.Module = average.module
    return module.eval()
