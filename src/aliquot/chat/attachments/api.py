"""The door to attachments: `files` for who asks, `uploads` for what comes in, `reader` for what a model is given, `storage` for
whoever asks how the storage of files is."""

from dataclasses import dataclass

from aliquot.chat.access import Access
from aliquot.chat.attachments.jobs import AttachmentJobs
from aliquot.chat.attachments.links import Links
from aliquot.chat.attachments.service import Attachments, RequireUnsigned
from aliquot.chat.attachments.store import AttachmentStore
from aliquot.chat.attachments.telling import FileReader
from aliquot.chat.attachments.uploads import Uploads
from aliquot.documents.api import DocumentsApi
from aliquot.kernel.clock import Clock
from aliquot.ledger.api import LedgerApi
from aliquot.platform.blobs import Blobs
from aliquot.platform.db import Database
from aliquot.platform.jobs import Jobs
from aliquot.platform.limits import Limiter
from aliquot.platform.loops import Loops
from aliquot.platform.scan import Scanner
from aliquot.platform.settings import Settings
from aliquot.platform.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTools:
    """Where files are kept and what looks into them."""

    blobs: Blobs
    documents: DocumentsApi
    scanner: Scanner | None


class AttachmentsApi:
    """Wires the parts."""

    def __init__(
        self,
        tools: FileTools,
        access: Access,
        require_unsigned: RequireUnsigned,
        db: Database,
        vault: Vault,
        ledger: LedgerApi,
        limiter: Limiter,
        jobs: Jobs,
        clock: Clock,
        settings: Settings,
    ) -> None:
        store, blobs, limits = AttachmentStore(vault), tools.blobs, settings.limits
        self.reader, self.storage = FileReader(db, store, blobs), blobs
        self.jobs = AttachmentJobs(
            db=db, store=store, blobs=blobs, scanner=tools.scanner, jobs=jobs, ledger=ledger, limits=limits, clock=clock
        )
        self.files = Attachments(
            store=store, blobs=blobs, access=access, jobs=self.jobs, links=Links(vault, limits.attachment_link_seconds), ledger=ledger,
            limits=limits, clock=clock, require_unsigned=require_unsigned,
        )  # fmt: skip
        self.uploads = Uploads(
            db=db, store=store, blobs=blobs, documents=tools.documents, scanner=tools.scanner, files=self.files, jobs=self.jobs,
            ledger=ledger, limiter=limiter, limits=limits, clock=clock,
        )  # fmt: skip

    def register_loops(self, loops: Loops) -> None:
        self.jobs.register_loops(loops)
