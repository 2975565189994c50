"""python -m service start | node | send | route | status | …: every command of the service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from models.errors import BrokenModel
from service import commands
from service import demo as demonstration
from service.scoring import open_shelf
from service.serve import serve
from service.settings import Settings, SettingsError, describe, read_settings

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
                  help="Diaphane's service: scores images and records with the released models.")
commands.register(app)


@app.command()
def start(
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on; default 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port; default 3000; 0 takes a free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; default 1.")] = None,
    threads: Annotated[int | None, typer.Option(help="Cases scored at once in a process; default one a core.")] = None,
    session_threads: Annotated[int | None, typer.Option(help="Threads inside one graph run; default 1.")] = None,
    provider: Annotated[str | None, typer.Option(help="auto, cpu, cuda, tensorrt or openvino.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, fp32, bf16, fp16 or int8.")] = None,
    released: Annotated[Path | None, typer.Option(help="Folder of releases; default models/released.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Serve until SIGTERM. The rest is set by the environment: see `python -m service settings`."""
    settings = _settings(host=host, port=port, workers=workers, scoring_threads=threads, provider=provider,
                         session_threads=session_threads, precision=precision, released=released, log_level=log_level)
    try:
        serve(settings)
    except OSError as error:
        _fail(f"Cannot listen on {settings.host} port {settings.port}: {error.strerror}. Choose another with --port.")


@app.command()
def settings() -> None:
    """Print every setting: its name in the environment, its value now, its default and its meaning."""
    table = Table("setting", "value", "default", "meaning")
    for row in describe(_settings()):
        table.add_row(*row)
    Console().print(table)


@app.command()
def check() -> None:
    """Open every release and reproduce its golden inputs, as /readyz waits for. Ends with 1 when one is broken."""
    try:
        shelf = open_shelf(_settings())
    except BrokenModel as error:
        _fail(str(error))
    for name, model in shelf.models.items():
        typer.echo(f"{name}: sound on {model.session.backend} in {model.session.precision}")


@app.command()
def demo(
    samples: Annotated[Path, typer.Option(help="Folder of samples with expected.json.")] = demonstration.SAMPLES,
    out: Annotated[Path, typer.Option(help="Where the pictures go.")] = Path("out/demo"),
    language: Annotated[str, typer.Option(help="en or fr: language of labels and pictures.")] = "en",
    review: Annotated[bool, typer.Option("--serve", help="Show the clinician's page, samples in its list, until Ctrl-C.")] = False,
    store: Annotated[Path, typer.Option(help="With --serve: folder of its store, made anew each time.")] = Path("out/demo-review"),
    port: Annotated[int, typer.Option(help="With --serve: HTTP port; 0 takes a free one.")] = 0,
) -> None:
    """Start the service on a free port, send it every sample, print one table, write the pictures, stop the service."""
    if review:
        from service import demo_review

        raise typer.Exit(demo_review.run(samples, store, port=port))
    raise typer.Exit(demonstration.run(samples, out, language))


def _settings(**given: Any) -> Settings:
    try:
        return read_settings(**given)
    except SettingsError as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    app()
