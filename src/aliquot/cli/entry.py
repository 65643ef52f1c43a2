"""The installed command. `aliquot chat` is a client and starts without loading the server's code; everything else is in `main`."""

import gc
import sys


def main() -> None:
    """Run the command line."""
    if sys.argv[1:2] == ["chat"]:
        import typer  # noqa: PLC0415 - only what this command needs

        from aliquot.cli.chat.command import chat  # noqa: PLC0415

        client = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
        client.command()(chat)
        client(sys.argv[2:], prog_name="aliquot chat")
    else:
        gc.disable()  # nothing that is imported is garbage; looking for it takes a quarter of the start
        from aliquot.cli.main import app  # noqa: PLC0415

        gc.enable()
        app(prog_name="aliquot")
