"""Questions to the person at the keyboard."""

import contextlib
import getpass
import sys
from typing import Literal, TextIO

Choice = Literal["yes", "no", "edit", "steps"]


class Person:
    """Reads from standard input. `present`: somebody (or a script that plays one) can answer."""

    def __init__(self, *, present: bool, prompts: TextIO) -> None:
        self.present = present
        self._prompts = prompts
        self._terminal = sys.stdin.isatty()
        if self._terminal:
            with contextlib.suppress(ImportError):
                import readline  # noqa: F401, PLC0415 - line editing for input(); its history stays in memory

    def ask(self, prompt: str) -> str | None:
        """One line without its end; None at the end of the input."""
        try:
            if self._terminal and sys.stdout.isatty():
                return input(prompt)  # with line editing
        except EOFError:
            print(file=self._prompts)
            return None
        print(prompt, end="", file=self._prompts, flush=True)
        line = sys.stdin.readline()
        if not self._terminal:
            print(file=self._prompts, flush=True)
        return line.rstrip("\r\n") if line else None

    def secret(self, prompt: str) -> str | None:
        """One line that is not shown while it is typed; None at the end of the input."""
        if not self._terminal:
            return self.ask(prompt)
        try:
            return getpass.getpass(prompt, stream=self._prompts)
        except EOFError:
            return None

    def choose(self, prompt: str, *, also: Choice | None = None) -> Choice | None:
        """Yes or no, or what may be chosen `also` (by its first letter); None for an empty line and at the end of the input: what was
        not said is no answer."""
        while True:
            try:
                answer = self.ask(f"{prompt} [y/n] ")
            except KeyboardInterrupt:  # neither yes nor no
                print(file=self._prompts)
                return None
            if answer is None or not (word := answer.strip().lower()):
                return None
            if word in ("y", "yes"):
                return "yes"
            if word in ("n", "no"):
                return "no"
            if also is not None and word in (also[0], also):
                return also
