"""Short-lived download links: an HMAC over attachment, person and time, under a key derived from the root key."""

import hmac
import uuid
from datetime import UTC, datetime, timedelta

from aliquot.chat.attachments.contracts import Link
from aliquot.chat.attachments.errors import LinkExpired, LinkInvalid
from aliquot.platform.vault import Vault


class Links:
    """Signs and checks. Nothing is stored: what a link opens is checked again when it is used."""

    def __init__(self, vault: Vault, seconds: int) -> None:
        self._key, self._seconds = vault.derive("chat.attachment_link"), seconds

    def sign(self, attachment_id: uuid.UUID, person_id: uuid.UUID, now: datetime) -> Link:
        until = int((now + timedelta(seconds=self._seconds)).timestamp())
        signature = self._signature(attachment_id, person_id, until)
        url = f"/api/attachments/{attachment_id}/content?person={person_id}&until={until}&signature={signature}"
        return Link(url=url, expires_at=datetime.fromtimestamp(until, UTC))

    def check(self, attachment_id: uuid.UUID, person_id: uuid.UUID, until: int, signature: str, now: datetime) -> None:
        """Raises LinkInvalid, LinkExpired."""
        if not hmac.compare_digest(self._signature(attachment_id, person_id, until).encode(), signature.encode("utf-8", "replace")):
            raise LinkInvalid
        if until <= now.timestamp():
            raise LinkExpired

    def _signature(self, attachment_id: uuid.UUID, person_id: uuid.UUID, until: int) -> str:
        return hmac.digest(self._key, f"{attachment_id}:{person_id}:{until}".encode(), "sha256").hex()
