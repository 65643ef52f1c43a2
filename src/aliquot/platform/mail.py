"""Outgoing e-mail over SMTP (RFC 5321), by aiosmtplib. Sending is a job's work: nobody waits for a mail server."""

import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate
from urllib.parse import unquote, urlsplit

import aiosmtplib

from aliquot.platform.settings import SettingsError

_SECONDS = 30.0
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class MailFailed(Exception):
    """The server did not take the mail. `final` when trying again would not help; then nothing was sent."""

    def __init__(self, code: str, *, final: bool) -> None:
        super().__init__(code)
        self.code, self.final = code, final


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    name: str
    media_type: str
    data: bytes


class Mailer:
    """Sends through the server of `SMTP_URL`: `smtp://user:password@host:587` (STARTTLS) or `smtps://…` (TLS from the start).

    Credentials and contents never travel in clear except to this machine itself.
    """

    def __init__(self, url: str, sender: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise SettingsError("SMTP_URL has the form smtp://user:password@host:587 or smtps://…")
        self._host, self._implicit_tls = parts.hostname, parts.scheme == "smtps"
        try:
            self._port = parts.port or (465 if self._implicit_tls else 587)
        except ValueError as error:
            raise SettingsError("SMTP_URL: the port is not a number") from error
        self._user = unquote(parts.username) if parts.username else None
        self._password = unquote(parts.password) if parts.password else None
        self._sender = sender

    async def send(self, *, to: str, subject: str, text: str, message_id: str, attachment: Attachment | None = None) -> None:
        """Send one mail. `message_id` is the same at every try, so that a repetition can be told. Raises MailFailed."""
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = self._sender, to, " ".join(subject.split())
        mail["Date"], mail["Message-ID"] = formatdate(usegmt=True), message_id
        mail.set_content(text)
        if attachment is not None:
            kind, _, subtype = attachment.media_type.partition(";")[0].partition("/")
            mail.add_attachment(attachment.data, maintype=kind, subtype=subtype, filename=attachment.name)
        try:
            await aiosmtplib.send(
                mail, hostname=self._host, port=self._port, username=self._user, password=self._password, timeout=_SECONDS,
                use_tls=self._implicit_tls, start_tls=not (self._implicit_tls or self._host in _LOOPBACK),
                tls_context=ssl.create_default_context(),
            )  # fmt: skip
        except aiosmtplib.SMTPResponseException as error:
            raise MailFailed(f"smtp_{error.code}", final=500 <= error.code < 600) from error
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise MailFailed("recipient_refused", final=True) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            raise MailFailed("mail_server_unreachable", final=False) from error
