"""The command `aliquot chat`."""

import json
import sys
from typing import Annotated, NoReturn

import typer

from aliquot.cli.chat.failures import FAILED, LEFT, Failure, Usage

_STDIN_BYTES = 1_000_000


def chat(
    question: Annotated[
        str | None, typer.Argument(help="Ask this once and leave; - reads it from standard input", show_default=False)
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(envvar="ALIQUOT_URL", help="The server (default: where this folder's settings say, else http://127.0.0.1:8089)"),
    ] = None,
    token: Annotated[
        str | None, typer.Option(envvar="ALIQUOT_TOKEN", help="A token or API key; better in the environment than here", show_envvar=True)
    ] = None,
    email: Annotated[str | None, typer.Option(help="Who logs in")] = None,
    continued: Annotated[bool, typer.Option("--continue", "-c", help="Go on with the last conversation")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object (with a question)")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Confirm what you may confirm yourself; never signs")] = False,
    reason: Annotated[str | None, typer.Option(help="The reason given with --yes")] = None,
    model: Annotated[str | None, typer.Option(help="The language model to ask")] = None,
    thinking: Annotated[bool, typer.Option("--thinking", help="Show what the model thinks, where it shows it")] = False,
) -> None:
    """Ask from the terminal. Exit codes: 0 answered, 1 failed, 2 usage, log-in or connection, 3 waiting for an approval."""
    from aliquot.cli.chat.address import default_url  # noqa: PLC0415 - `aliquot --help` need not load the client
    from aliquot.cli.chat.program import Options, Program  # noqa: PLC0415

    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal that cannot show a character shows another
    try:
        text = _question(question)
        if as_json and text is None:
            raise Usage("--json needs a question.")
        options = Options(
            url=url or default_url(),
            token=token or None,
            email=email,
            continued=continued,
            as_json=as_json,
            yes=yes,
            reason=reason,
            model=model,
            thinking=thinking,
        )
        code = Program(options, interactive=text is None).run(text)
    except Failure as failure:
        _fail(failure, as_json=as_json)
    except KeyboardInterrupt:
        typer.echo("", err=True)
        raise typer.Exit(LEFT) from None
    raise typer.Exit(code)


def _question(given: str | None) -> str | None:
    """The question, from standard input for `-`. Raises Usage when it is empty."""
    if given is None:
        return None
    text = given
    if given == "-":
        raw = sys.stdin.buffer.read(_STDIN_BYTES + 1)
        if len(raw) > _STDIN_BYTES:
            raise Usage("The question is too long.")
        text = raw.decode("utf-8", "replace")
    if not text.strip():
        raise Usage("The question is empty.")
    return text.strip()


def _fail(failure: Failure, *, as_json: bool) -> NoReturn:
    from aliquot.cli.chat.asking import Outcome  # noqa: PLC0415

    if as_json:
        error = {"code": failure.code, "detail": str(failure), "retryable": failure.exit_code != FAILED}
        outcome = failure.outcome if isinstance(failure.outcome, Outcome) else Outcome()
        typer.echo(json.dumps(outcome.document() | {"error": error}))
    else:
        from aliquot.cli.chat.neutral import one_line  # noqa: PLC0415

        typer.echo(f"aliquot: {one_line(failure)}", err=True)
    raise typer.Exit(failure.exit_code) from None


def main() -> None:
    """`python -m aliquot.cli.chat`."""
    typer.run(chat)
