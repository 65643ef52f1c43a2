"""Logging in: from a token given, a token remembered, or e-mail address and password."""

from aliquot.cli.chat.connection import Connection, is_loopback
from aliquot.cli.chat.failures import Failure, NotLoggedIn, Refused, Unreachable
from aliquot.cli.chat.person import Person
from aliquot.cli.chat.screen import Screen
from aliquot.cli.chat.store import ServerFile

_TRIES = 3


class LogIn:
    """Gives `connection` a token that works, or raises NotLoggedIn with what to do."""

    def __init__(
        self, connection: Connection, memory: ServerFile, person: Person, screen: Screen, *, token: str | None, email: str | None
    ) -> None:
        self._connection, self._memory, self._person, self._screen = connection, memory, person, screen
        self._given, self._named, self._email = token, email, email
        self.name = ""
        """Whose log-in it is, as the server prints the name; known after `start`."""

    def start(self) -> None:
        """Find out who we are. Raises Unreachable, Refused or NotLoggedIn."""
        remembered = self._memory.load()
        # A person named on the command line is somebody else until they have logged in.
        usable = remembered.token if self._email is None or self._email == remembered.email else None
        self._email = self._email or remembered.email
        self._connection.token = self._given or usable
        if self._connection.token is None:
            self._connection.probe()  # a wrong address is said before a password is asked for
            self._ask()
        else:
            self._connection.log_in = self.again
            me = self._connection.get("/api/auth/me")
            self.name = self.name or str(me.get("name", ""))
            if me.get("must_change") is True:
                self._change_password(None)
        self._connection.log_in = self.again

    def again(self) -> None:
        """The server knows the token no longer. Raises NotLoggedIn when it was given by hand or nobody can log in."""
        self._screen.end()
        if self._given is not None:
            raise NotLoggedIn("The token was refused: it is wrong, has expired or was revoked (--token, ALIQUOT_TOKEN).")
        self._memory.update(token=None)
        self._connection.token = None
        if self._person.present:
            self._screen.note("The log-in has ended; please log in again.")
        self._ask()

    def _ask(self) -> None:
        if not self._person.present:
            raise NotLoggedIn(
                f"Not logged in at {self._connection.url}. Run `aliquot chat` in a terminal once, "
                "or set ALIQUOT_TOKEN to a token or an API key."
            )
        if not self._connection.url.startswith("https:") and not is_loopback(self._connection.url):
            self._screen.note(f"The connection to {self._connection.url} is not encrypted: others on the way can read the password.")
        for attempt in range(1, _TRIES + 1):
            email = self._named or self._address()
            password = self._needed(self._person.secret("Password: "))
            try:
                self._open(email.strip(), password)
            except Refused as refusal:
                if refusal.code not in ("login_failed", "otp_failed", "invalid_input") or attempt == _TRIES:
                    raise _exit_with(refusal) from refusal
                self._screen.failure(str(refusal))
            else:
                return

    def _address(self) -> str:
        return self._needed(self._person.ask(f"E-mail{f' [{self._email}]' if self._email else ''}: ")) or self._email or ""

    def _open(self, email: str, password: str) -> None:
        body = {"email": email, "password": password}
        try:
            login = self._connection.post_once("/api/auth/login", body)
        except Refused as refusal:
            if refusal.code != "otp_required":
                raise
            body["otp"] = self._needed(self._person.secret("One-time password of your authenticator app: "))
            login = self._connection.post_once("/api/auth/login", body)
        token, user = login.get("token"), login.get("user")
        if not isinstance(token, str) or not isinstance(user, dict):
            raise Unreachable(f"What answers at {self._connection.url} is not an Aliquot server.")
        self._connection.token, self._email, self.name = token, email, str(user.get("name", ""))
        if user.get("must_change") is True:
            self._change_password(password)
        self._memory.update(token=token, email=email)

    def _change_password(self, old: str | None) -> None:
        """A one-time password opens nothing but its own change."""
        if not self._person.present:
            raise NotLoggedIn("The one-time password must be changed first: run `aliquot chat` in a terminal.")
        self._screen.note("This is a one-time password: please choose your own.")
        old = old or self._needed(self._person.secret("One-time password: "))
        for attempt in range(1, _TRIES + 1):
            new = self._needed(self._person.secret("New password: "))
            if new != self._needed(self._person.secret("New password again: ")):
                self._screen.failure("These were two different passwords.")
                continue
            try:
                self._replace(old, new)
            except Refused as refusal:
                if refusal.code not in ("weak_password", "invalid_input") or attempt == _TRIES:
                    raise _exit_with(refusal) from refusal
                self._screen.failure(str(refusal))
            else:
                self._screen.note("The password is changed.")
                return
        raise NotLoggedIn("The password was not changed.")

    def _replace(self, old: str, new: str) -> None:
        try:
            self._connection.post_once("/api/auth/password", {"old_password": old, "new_password": new})
        except Unreachable:
            # It may have been changed before the connection dropped: sending it again would be a wrong password.
            if self._connection.get("/api/auth/me").get("must_change") is not False:
                raise

    def _needed(self, answer: str | None) -> str:
        if answer is None:
            raise NotLoggedIn("Not logged in.")
        return answer


def _exit_with(refusal: Refused) -> Failure:
    """A refused log-in is a matter of access, whatever its status."""
    failure = NotLoggedIn(str(refusal))
    failure.code = refusal.code
    return failure
