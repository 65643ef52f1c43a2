"""Making, listing and revoking shares. Opening them is `opening`'s."""

import hashlib
import secrets
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from aliquot.chat.access import Access
from aliquot.chat.search.store import LISTED_KINDS
from aliquot.chat.sharing.contracts import MadeShare, NewShare, Share, SharedWith, SharedWithMe
from aliquot.chat.sharing.errors import (
    MayHoldPatientData,
    NotForEverybody,
    NothingToShare,
    PermissionsMissing,
    PublicIsReadOnly,
    SharedWithNobody,
    SharedWithOneself,
    TooManyPeople,
    TooManyShares,
    UnknownPeople,
    UnknownShare,
)
from aliquot.chat.sharing.store import ShareStore
from aliquot.chat.store import ChatStore
from aliquot.guard.api import patient_class
from aliquot.identity.api import IdentityApi
from aliquot.identity.contracts import Person, Principal
from aliquot.kernel.clock import Clock
from aliquot.kernel.ids import new_id, parse_id
from aliquot.kernel.problems import InvalidInput, NotFound, Problem
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, RecordRef
from aliquot.platform.db import Transaction
from aliquot.platform.settings import Limits

TOKEN_PREFIX = "alqs_"
_TOKEN_BYTES = 32


def token_hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


class Sharing:
    """An owner's shares."""

    def __init__(
        self, store: ShareStore, chats: ChatStore, access: Access, identity: IdentityApi, ledger: LedgerApi, clock: Clock, limits: Limits
    ) -> None:
        self._store, self._chats, self._access, self._identity, self._ledger = store, chats, access, identity, ledger
        self._clock, self._limits = clock, limits

    async def make(self, tx: Transaction, principal: Principal, reference: str, wanted: NewShare) -> MadeShare:
        """Share a conversation of one's own; the token is in the answer and nowhere else.

        Raises UnknownConversation, NotTheOwner, SharedWithNobody, PublicIsReadOnly, UnknownPeople, SharedWithOneself, TooManyPeople,
        TooManyShares, PermissionsMissing (NotForEverybody), MayHoldPatientData, NothingToShare.
        """
        self._check(wanted)
        row = await self._access.conversation(tx, principal, reference, "own", lock=True)
        if row.kind not in LISTED_KINDS:
            raise InvalidInput("Conversations of this kind cannot be shared.")
        live = wanted.live or wanted.may_write
        if not live and row.head_id is None:
            raise NothingToShare
        if wanted.public and (problem := await self.not_public(tx, row)) is not None:
            raise problem
        if len(await self._store.of_conversation(tx, row.id)) >= self._limits.shares_per_conversation:
            raise TooManyShares
        people = await self._people(tx, principal, row.id, wanted.users)
        at, token = self._clock.now(), TOKEN_PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)
        hours = wanted.expires_in_hours or (self._limits.share_hours if wanted.public else None)
        values = {
            "id": new_id(), "conversation_id": row.id, "made_by": principal.id,
            "title": None if live else row.title, "message_id": None if live else row.head_id,
            "public": wanted.public, "may_write": wanted.may_write, "token_hash": token_hash(token), "created_at": at,
            "expires_at": at + timedelta(hours=hours) if hours is not None else None,
        }  # fmt: skip
        made = await self._store.add(tx, values, [person.id for person in people])
        to = ",".join(sorted(str(person.id) for person in people)) or "public"
        await self._audit(tx, principal, "conversation.shared", row.id, f"share:{made.id},to:{to}")
        shown = [SharedWith(id=person.id, name=person.name) for person in people]
        return MadeShare(share=self._view(made, shown, False, at), token=token, path=f"/api/shared/{token}")

    async def of(self, tx: Transaction, principal: Principal, reference: str) -> list[Share]:
        """The shares of a conversation of one's own that were not revoked, newest first."""
        row = await self._access.conversation(tx, principal, reference, "own")
        rows = await self._store.of_conversation(tx, row.id)
        people = await self._store.people(tx, [share.id for share in rows])
        names = await self._identity.names(tx, {person for some in people.values() for person in some})
        closed = any(share.public for share in rows) and await self.not_public(tx, row) is not None
        at = self._clock.now()
        return [
            self._view(share, [SharedWith(id=p, name=names.get(p, "")) for p in people.get(share.id, ())], closed, at) for share in rows
        ]  # fmt: skip

    async def revoke(
        self, tx: Transaction, principal: Principal, reference: str, share_id: uuid.UUID | None, user: str | None
    ) -> None:  # fmt: skip
        """End all shares of the conversation, one of them, or one person's part in them. Raises UnknownShare, UnknownPeople."""
        row = await self._access.conversation(tx, principal, reference, "own")
        shares = [share.id for share in await self._store.of_conversation(tx, row.id) if share_id in (None, share.id)]
        if share_id is not None and not shares:
            raise UnknownShare
        if user is not None:
            try:
                person = await self._identity.person(tx, parse_id(user) or user)
            except NotFound:
                raise UnknownPeople from None
            shares = await self._store.remove_person(tx, shares, person.id)
            if not shares:
                raise UnknownPeople("The conversation is not shared with this person.")
            left = await self._store.people(tx, shares)
            await self._store.revoke(tx, [share for share in shares if share not in left], self._clock.now())
        else:
            await self._store.revoke(tx, shares, self._clock.now())
        self._access.withdrawn(tx, row.id)
        of = ",".join(f"share:{share}" for share in shares) or "no shares"
        await self._audit(tx, principal, "conversation.unshared", row.id, of if user is None else f"person:{person.id},{of}")

    async def with_me(self, tx: Transaction, principal: Principal, limit: int) -> list[SharedWithMe]:
        """What other people share with this person, newest first."""
        rows = await self._store.with_person(tx, principal.id, self._clock.now(), limit)
        owners = await self._identity.names(tx, {row.owner_id for row in rows})
        return [
            SharedWithMe(
                share_id=row.id, conversation_id=row.conversation_id, title=self._chats.title(row.conversation_id, row.shown_title),
                owner=owners.get(row.owner_id, ""), live=row.message_id is None, may_write=row.may_write, created_at=row.created_at,
                expires_at=row.expires_at,
            )
            for row in rows
        ]  # fmt: skip

    async def not_public(self, tx: Transaction, row: Any) -> Problem | None:
        """Why a conversation is nothing for everybody: the title or a message has, or may have, a patient class (MayHoldPatientData), or
        a tool was called that needs a permission (NotForEverybody): whoever holds no permission would see what it gave."""
        title = self._chats.title(row.id, row.title)
        found = await self._store.patient_class(tx, row.id)
        if found == "patient" or patient_class(title or "") != "none":
            return MayHoldPatientData()
        if found == "undecided":
            return MayHoldPatientData(
                "This conversation holds a file or a text whose content was not checked for patient data, so it cannot have a public link."
            )
        if used := await self._access.permissions_used(tx, row.id):
            return NotForEverybody(f"A public link would show it to everybody; what was used in it needs {', '.join(sorted(used))}.")
        return None

    def _check(self, wanted: NewShare) -> None:
        if bool(wanted.users) == wanted.public:
            raise SharedWithNobody
        if wanted.public and (wanted.live or wanted.may_write):
            raise PublicIsReadOnly
        if len(wanted.users) > self._limits.share_people:
            raise TooManyPeople(f"At most {self._limits.share_people} people at once.")
        hours = wanted.expires_in_hours
        if hours is not None and not 0 < hours <= self._limits.share_hours:
            raise InvalidInput(f"expires_in_hours: more than 0, at most {self._limits.share_hours}")

    async def _people(self, tx: Transaction, principal: Principal, conversation_id: uuid.UUID, users: Sequence[str]) -> list[Person]:
        """The people named, each of whom may see everything in the conversation."""
        found: dict[uuid.UUID, Person] = {}
        for user in users:
            try:
                person = await self._identity.person(tx, parse_id(user) or user)
            except (NotFound, InvalidInput):
                person = None
            if person is None or not person.active:
                raise UnknownPeople
            if person.id == principal.id:
                raise SharedWithOneself
            found[person.id] = person
        used = await self._access.permissions_used(tx, conversation_id) | {"chat.use"} if found else frozenset[str]()
        lacking = [person for person in found.values() if not used <= set(person.permissions)]
        if lacking:
            names = ", ".join(person.name for person in lacking[:5])
            missing = ", ".join(sorted(used - set(lacking[0].permissions)))
            raise PermissionsMissing(f"{names} may not see this conversation: what was used in it needs {missing}.")
        return list(found.values())

    def _view(self, share: Any, users: Sequence[SharedWith], closed: bool, at: datetime) -> Share:
        state: Literal["active", "expired", "suspended"] = "suspended" if share.public and closed else "active"
        if share.expires_at is not None and share.expires_at <= at:
            state = "expired"
        return Share(
            id=share.id, conversation_id=share.conversation_id, public=share.public, live=share.message_id is None,
            may_write=share.may_write, message_id=share.message_id, users=users, created_at=share.created_at, expires_at=share.expires_at,
            state=state,
        )  # fmt: skip

    async def _audit(self, tx: Transaction, principal: Principal, action: str, conversation_id: uuid.UUID, reason: str) -> None:
        await self._ledger.append(
            tx,
            AuditEvent(
                action=action, actor=str(principal.id), via=principal.via, ip=principal.ip, subject=principal.id, reason=reason,
                record=RecordRef(type="conversation", id=str(conversation_id)),
            ),
        )  # fmt: skip
