"""`aliquot chat` without a question: one line in, one answer out, until the person leaves."""

from collections.abc import Callable
from functools import partial

from aliquot.cli.chat.approvals import Approvals
from aliquot.cli.chat.asking import Conversation, Outcome
from aliquot.cli.chat.failures import ANSWERED, Failure, NotLoggedIn
from aliquot.cli.chat.neutral import one_line
from aliquot.cli.chat.person import Person
from aliquot.cli.chat.screen import Screen, local_time

_HELP = """\
/new        start another conversation
/history    show this conversation
/approvals  what waits for a decision, mine and that I may decide
/decide N   show and decide number N of that list
/plans      plans of several steps that are not over
/stop N     stop number N of that list: a step under way ends, no other begins
/resume N   go on with number N of that list
/cancel     cancel the last answer, or withdraw what waits for a decision
/help       this list
/quit       leave (also Ctrl-D)
Ctrl-C cancels a running answer; twice leaves. A line that begins with // is sent with one slash."""


class Interactive:
    """The loop of prompts and slash commands."""

    def __init__(self, conversation: Conversation, approvals: Approvals, person: Person, screen: Screen, *, name: str) -> None:
        self._conversation, self._approvals, self._person, self._screen = conversation, approvals, person, screen
        self._listed: list[str] = []
        self._name = name
        self._commands = {
            "/help": self._help, "/new": self._new, "/history": self._history, "/approvals": self._list, "/decide": self._decide,
            "/cancel": self._cancel, "/plans": self._plans, "/stop": self._stop, "/resume": self._resume,
        }  # fmt: skip

    def run(self) -> int:
        """Until the end of the input or /quit; the exit code."""
        self._screen.note(f"Logged in as {self._name}; somebody else logs in with --email.")
        self._screen.line("Ask in plain language. /help lists the commands, Ctrl-D leaves.")
        self._guarded(self._take_up)
        while True:
            try:
                line = self._person.ask("> ")
            except KeyboardInterrupt:
                self._screen.line("")
                continue  # what was typed is dropped, as in a shell
            if line is None or line.strip() in ("/quit", "/exit"):
                return ANSWERED
            if line.strip():
                self._guarded(partial(self._handle, line.strip()))

    def _guarded(self, work: Callable[[], object]) -> None:
        """A failure is one sentence; the conversation goes on."""
        try:
            work()
        except NotLoggedIn:
            raise
        except Failure as failure:
            self._screen.failure(str(failure))

    def _take_up(self) -> None:
        messages = self._conversation.messages()
        if messages:
            self._screen.note(f"Continuing a conversation of {len(messages)} messages; /history shows them.")
        self._conversation.take_up()

    def _handle(self, line: str) -> None:
        if line.startswith("//"):
            line = line[1:]
        elif line.startswith("/"):
            name, _, rest = line.partition(" ")
            command = self._commands.get(name)
            if command is None:
                self._screen.failure(f"There is no command {name}; /help lists them.")
            else:
                command(rest.strip())
            return
        self._after(self._conversation.ask(line))

    def _after(self, outcome: Outcome) -> None:
        last = outcome.runs[-1] if outcome.runs else None
        if last is not None and last.error is not None and last.error["retryable"]:
            self._screen.note("You can ask again.")

    def _help(self, _: str) -> None:
        self._screen.line(_HELP)

    def _new(self, _: str) -> None:
        self._conversation.new()
        self._screen.line("A new conversation.")

    def _history(self, _: str) -> None:
        messages = self._conversation.messages()
        if not messages:
            self._screen.line("Nothing was said yet.")
        for message in messages:
            self._screen.message(str(message.get("role")), str(message.get("content", "")), str(message.get("created_at", "")))

    def _list(self, _: str) -> None:
        items = self._approvals.open_ones()
        self._listed = [str(item.get("id")) for item in items]
        if not items:
            self._screen.line("Nothing waits for a decision.")
        for number, item in enumerate(items, 1):
            preview = item.get("preview")
            summary = preview.get("summary", "") if isinstance(preview, dict) else ""
            mine = "you may decide" if item.get("may_decide") is True else "somebody else decides"
            who = one_line(item.get("requester_name", ""))
            self._screen.line(
                f"{number}  {one_line(item.get('tool', ''))}: {one_line(summary, 200)} (asked by {who}, "
                f"expires {local_time(item.get('expires_at'), zone=True)}, {mine})"
            )

    def _decide(self, rest: str) -> None:
        if not rest.isdecimal() or not 1 <= int(rest) <= len(self._listed):
            self._screen.failure("Say which: /approvals lists them, then /decide 1.")
            return
        approval, run_id = self._approvals.settle(self._listed[int(rest) - 1])
        if run_id is not None and not self._conversation.watch_if_mine(run_id):
            self._screen.note(f"Decided. It goes on in the conversation of {one_line(approval.get('requester_name', 'the requester'))}.")

    def _plans(self, _: str) -> None:
        self._approvals.plans.show()

    def _stop(self, rest: str) -> None:
        self._approvals.plans.stop(rest)

    def _resume(self, rest: str) -> None:
        run_id = self._approvals.plans.resume(rest)
        if run_id is not None:
            self._conversation.watch_if_mine(run_id)

    def _cancel(self, _: str) -> None:
        self._screen.line(self._conversation.cancel())
