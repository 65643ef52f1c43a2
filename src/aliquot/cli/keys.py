"""`aliquot keys`: the keys of this installation, on its own machine."""

import typer

from aliquot.cli.common import read_settings, sentences
from aliquot.cli.installation import open_vault, require_keys

app = typer.Typer(help="The keys: rotate-root.", no_args_is_help=True)

_STEPS = """The root key comes from the environment (ALIQUOT_ROOT_KEY), so you put the new one in place:
  1. Make a key:   openssl rand -hex 32
  2. Give every process of the site both: ALIQUOT_ROOT_KEY stays the old one, ALIQUOT_ROOT_KEY_NEXT is the new one. Restart them.
  3. Run `aliquot keys rotate-root` again, with the same two variables.
  4. Make ALIQUOT_ROOT_KEY the new one, remove ALIQUOT_ROOT_KEY_NEXT, restart, and destroy the old one."""


@app.callback()
def _group() -> None:
    """Commands of `aliquot keys`."""


@app.command("rotate-root")
def rotate_root() -> None:
    """Wrap all keys with a new root key. Servers may go on meanwhile; a crash leaves the old state or the new one."""
    with sentences():
        settings = read_settings()
        require_keys(settings)
        if settings.root_key is not None and settings.root_key_next is None:
            typer.echo(_STEPS)
            raise typer.Exit(2)
        count = open_vault(settings).rotate_root()
        typer.echo(f"{count} keys are wrapped with the new root key.")
        if settings.root_key is not None:
            typer.echo("Now make ALIQUOT_ROOT_KEY the new one, remove ALIQUOT_ROOT_KEY_NEXT and restart; then destroy the old one.")
        else:
            name = "root" if settings.kms is None else "root.wrapped"
            typer.echo(
                f"Copy {settings.keys_dir / name} to its safe place and destroy the old copy; then make a new keys back-up and destroy "
                "the older ones (`aliquot backup`): they open with the old root key only."
            )
