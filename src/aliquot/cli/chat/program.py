"""Puts the client together for one start of the command."""

import json
import sys
from dataclasses import dataclass

from aliquot.cli.chat.approvals import Approvals, Stance
from aliquot.cli.chat.asking import Conversation, Outcome
from aliquot.cli.chat.connection import Connection, base_url
from aliquot.cli.chat.interactive import Interactive
from aliquot.cli.chat.login import LogIn
from aliquot.cli.chat.person import Person
from aliquot.cli.chat.screen import PlainScreen, Screen
from aliquot.cli.chat.store import ServerFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line."""

    url: str
    token: str | None
    email: str | None
    continued: bool
    as_json: bool
    yes: bool
    reason: str | None
    model: str | None
    thinking: bool


_ASKED_BACK = ("Answer with its name or number", "answer `yes` to choose it", "Your next message is taken as it")
"""What the server says when it waits for a reply (`chat.unaided`)."""


class Program:
    """One start of the command."""

    def __init__(self, options: Options, *, interactive: bool) -> None:
        url = base_url(options.url)
        self._options, self._interactive = options, interactive
        self._screen = _screen(options, interactive=interactive)
        # In the interactive form standard input speaks for the person; for a single question only a terminal does.
        terminal = sys.stdin.isatty() and (sys.stdout.isatty() or sys.stderr.isatty())
        self._person = Person(present=interactive or (terminal and not options.as_json), prompts=sys.stdout if interactive else sys.stderr)
        self._memory = ServerFile(url)
        self._connection = Connection(url, note=self._screen.note)
        self._approvals = Approvals(self._connection, self._person, self._screen, stance=self._stance(), reason=options.reason)

    def run(self, question: str | None) -> int:
        """The exit code. Raises Failure."""
        try:
            token, email = self._options.token, self._options.email
            log_in = LogIn(self._connection, self._memory, self._person, self._screen, token=token, email=email)
            log_in.start()
            conversation = Conversation(
                self._connection, self._memory, self._screen, self._approvals, continued=self._options.continued, model=self._options.model
            )
            if question is None:
                return Interactive(conversation, self._approvals, self._person, self._screen, name=log_in.name).run()
            return self._once(conversation.ask(question))
        finally:
            self._screen.end()
            self._connection.close()

    def _once(self, outcome: Outcome) -> int:
        if self._options.as_json:
            # Escaped to ASCII: nothing in it can reach the terminal as a control sequence.
            print(json.dumps(outcome.document()), flush=True)
        elif outcome.runs and any(sign in outcome.runs[-1].answer for sign in _ASKED_BACK):
            self._screen.note("To answer: aliquot chat -c YOUR_ANSWER")
        return outcome.exit_code

    def _stance(self) -> Stance:
        if self._options.yes:
            return "approve"
        return "ask" if self._person.present else "leave"


def _screen(options: Options, *, interactive: bool) -> Screen:
    if options.as_json:
        return Screen()
    if sys.stdout.isatty():
        from rich.console import Console  # noqa: PLC0415 - a pipe needs no terminal library

        from aliquot.cli.chat.terminal import RichScreen  # noqa: PLC0415

        console = Console(highlight=False, markup=False, emoji=False)
        if not console.is_dumb_terminal:
            return RichScreen(console, thinking=options.thinking)
    return PlainScreen(sys.stdout, sys.stdout if interactive else sys.stderr, thinking=options.thinking)
