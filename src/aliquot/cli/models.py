"""`aliquot models`: pull and serve small local language models."""

from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from aliquot.cli.common import sentences
from aliquot.models.local import LocalServer, LocalServerError, models_entry
from aliquot.models.pull import CATALOGUE, PullError, find, pull, pulled_file
from aliquot.platform.settings import SettingsError, load_settings

app = typer.Typer(help="Small language models on this machine: list, pull, serve.", no_args_is_help=True)

_Name = Annotated[str, typer.Argument(help="A name of `aliquot models list`")]


@app.command("list")
def list_models() -> None:
    """The models that can be pulled, and which of them are here."""
    with sentences():
        folder = load_settings().data_dir / "models"
        for model in CATALOGUE:
            here = "here" if pulled_file(model, folder).is_file() else f"{model.size / 1e6:,.0f} MB to pull"
            typer.echo(f"{model.name}: {model.title}, {model.licence} ({here})")


@app.command("pull")
def pull_model(name: _Name) -> None:
    """Fetch a model's file, check its SHA-256 and store it in the data folder. Parts already fetched are kept."""
    with sentences():
        folder = load_settings().data_dir / "models"
        try:
            model = find(name)
            with Progress(TextColumn(model.name), BarColumn(), DownloadColumn(), TimeRemainingColumn()) as progress:
                task = progress.add_task(model.name, total=model.size)
                path = pull(model, folder, lambda done, total: progress.update(task, completed=done, total=total))
        except PullError as error:
            raise SettingsError(str(error)) from error
        typer.echo(
            f"Stored and checked: {path}\nServe it with `aliquot models serve {name}`; entry for the models file:\n\n{models_entry(model)}"
        )


@app.command("serve")
def serve_model(
    name: _Name,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1")] = 9001,
    context: Annotated[int, typer.Option(help="Tokens of context")] = 8_192,
) -> None:
    """Serve a pulled model, OpenAI-compatible, on loopback, until Ctrl-C. Needs `requirements/local.txt` installed."""
    with sentences():
        try:
            model = find(name)
            server = LocalServer(
                pulled_file(model, load_settings().data_dir / "models"), alias=model.name, port=port, context_tokens=context
            )
            address = server.start()
        except (PullError, LocalServerError) as error:
            raise SettingsError(str(error)) from error
        typer.echo(f"{model.name} listens on {address}. Ctrl-C ends it.")
        try:
            server.wait()
        except KeyboardInterrupt:
            server.stop()
