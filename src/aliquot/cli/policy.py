"""`aliquot policy`: policy bundles on a laboratory's own machine, without a server."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from aliquot.policy.bundles import BundleRefused, default_source, read_source
from aliquot.policy.engine import Engine

app = typer.Typer(no_args_is_help=True, help="Policy bundles: check and write them.")

_FILES = {"schema": "schema.cedarschema", "authz": "authz.cedar", "obligations": "obligations.cedar", "risk": "risk.cedar"}


@app.command("check")
def check(
    folder: Path, as_json: Annotated[bool, typer.Option("--json", help="Print the body for POST /api/policy/bundles.")] = False
) -> None:
    """Compile, validate and test the bundle in FOLDER, and name every problem."""
    try:
        source = read_source(folder)
        engine = Engine.load(source, bytes(32))
    except BundleRefused as refused:
        for problem in refused.problems:
            typer.echo(problem, err=True)
        raise typer.Exit(1) from refused
    if as_json:
        typer.echo(json.dumps({"name": folder.resolve().name, **asdict(source)}))
    else:
        typer.echo(f"{len(engine.bundle.policies)} policies, {len(source.golden)} golden cases, version {source.version}")


@app.command("default")
def default(folder: Path) -> None:
    """Write the bundle shipped with Aliquot into FOLDER, to begin with."""
    source = default_source()
    folder.mkdir(parents=True, exist_ok=True)
    texts = {file: getattr(source, name) for name, file in _FILES.items()}
    texts |= {"golden.json": json.dumps(source.golden, indent=1) + "\n", "rules.json": json.dumps(source.rules, indent=1) + "\n"}
    for file, text in texts.items():
        path = folder / file
        if path.exists():
            raise typer.BadParameter(f"{path} is there already")
        path.write_text(text, "utf-8")
    typer.echo(f"Written to {folder}.")
