"""Builds every service once and binds the doors that point upwards."""

from collections.abc import Sequence

from aliquot.admin.api import AdminApi
from aliquot.bootstrap.background import register_loops
from aliquot.bootstrap.services import DatabaseUrls, Services
from aliquot.chat.api import ChatApi
from aliquot.chat.attachments.api import FileTools
from aliquot.chat.emergency import ChatEmergency
from aliquot.chat.live.api import LiveApi
from aliquot.chat.personal import ChatPersonal
from aliquot.chat.plans.restated import RestatedPlans
from aliquot.chat.restated import RestatedRuns as RestatedChatRuns
from aliquot.chat.retained import RetainedConversations
from aliquot.documents.api import DocumentsApi
from aliquot.documents.contracts import Bounds
from aliquot.identity.api import IdentityApi
from aliquot.identity.restated import RestatedIdentities, RestatedKeys, RestatedPeople, RestatedSessions
from aliquot.kernel.clock import Clock, SystemClock
from aliquot.lab.api import LabApi
from aliquot.lab.dashboards import LAB_DASHBOARDS
from aliquot.lab.errors import AmbiguousInstrument, UnknownInstrument, UnknownProtocol
from aliquot.lab.personal import LabPersonal
from aliquot.lab.restated import RestatedRuns
from aliquot.lab.retained import RetainedRuns as RetainedInstrumentRuns
from aliquot.lab.tools import lab_tools
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import RestatedRecords
from aliquot.ledger.files import LogFiles
from aliquot.ledger.jobs import witnesses_of
from aliquot.ledger.keys import LogKeys
from aliquot.ledger.restated import Rechecker
from aliquot.ledger.sequencer import Sequencer
from aliquot.models.api import ModelsApi
from aliquot.platform.blobs import Blobs
from aliquot.platform.db import Database, Transaction
from aliquot.platform.jobs import Jobs
from aliquot.platform.limits import Limiter
from aliquot.platform.link import ValkeyLink
from aliquot.platform.loops import Loops
from aliquot.platform.scan import Scanner
from aliquot.platform.settings import DashboardManifest, Settings
from aliquot.platform.telemetry import Metrics
from aliquot.platform.vault import Vault
from aliquot.policy.api import PolicyApi
from aliquot.policy.bundles import read_source
from aliquot.policy.personal import PolicyPersonal
from aliquot.policy.restated import RestatedActivations, RestatedApprovals, RestatedBundles, RestatedDecisions
from aliquot.policy.retained import RetainedApprovals
from aliquot.policy.signatures import ActivationSignatures, ApprovalSignatures
from aliquot.records.access.api import AccessApi
from aliquot.records.access.restated import RestatedGlasses
from aliquot.records.alerts.api import AlertsApi
from aliquot.records.erasure.api import ErasureApi
from aliquot.records.erasure.contracts import PersonalData
from aliquot.records.retention.api import RetentionApi
from aliquot.records.retention.restated import RestatedArchives, RestatedHolds, RestatedSchedules
from aliquot.records.review.api import ReviewApi
from aliquot.records.signatures.api import SignaturesApi
from aliquot.records.signatures.contracts import SignableKind
from aliquot.records.training.api import TrainingApi, TrainingPersonal
from aliquot.records.training.contracts import Subjects, TrainingKind
from aliquot.records.training.restated import RestatedTraining
from aliquot.routing.api import RoutingApi
from aliquot.tools.api import ToolsApi
from aliquot.tools.mcp.restated import RestatedTools
from aliquot.tools.mcp.servers import RemoteServers
from aliquot.tools.registry import Registry


def build(settings: Settings, vault: Vault, urls: DatabaseUrls, *, clock: Clock | None = None) -> Services:
    """Build all services. Opens no connection; raises SettingsError or BundleRefused when something declared is unusable."""
    clock = clock or SystemClock()
    db, sequencer_db = Database(urls.app, pool_size=24), Database(urls.sequencer, pool_size=3, application_name="aliquot sequencer")
    metrics, limiter, jobs, loops = Metrics(), Limiter(clock), Jobs(urls.app), Loops()
    files, key = LogFiles(settings.data_dir / "tlog"), LogKeys(settings.keys_dir)
    sequencer = Sequencer(sequencer_db, files, key, clock)
    ledger = LedgerApi(vault, clock, wake=sequencer.wake, key=key, witnesses=witnesses_of(settings))
    identity = IdentityApi(vault, ledger, clock, settings, limiter=limiter)
    training, signatures = _signatures(identity, ledger, vault, clock, settings)
    policy = _policy(ledger, vault, clock, settings, limiter, signatures, identity, training)
    models = ModelsApi(settings, db, ledger, clock)
    lab = LabApi(ledger=ledger, clock=clock, settings=settings, vault=vault)
    registry, mcp = _registry(lab, db, ledger, clock, settings)
    tools = ToolsApi(registry, policy, ledger, vault, db, clock, settings, metrics=metrics, dashboards=_dashboards(settings))
    routing, link = RoutingApi(tools.all()), _link(settings, vault)
    chat = ChatApi(
        db=db, vault=vault, ledger=ledger, identity=identity, policy=policy, tools=tools, models=models, routing=routing, limiter=limiter,
        jobs=jobs, clock=clock, settings=settings, metrics=metrics, files=_file_tools(settings, vault), signatures=signatures, link=link,
    )  # fmt: skip
    live = LiveApi(
        chat=chat, identity=identity, policy=policy, db=db, vault=vault, clock=clock, limits=settings.limits, metrics=metrics, link=link
    )
    _bind_signable(signatures, *policy.signable, *lab.signable, chat.signable)
    policy.continue_run, policy.wait_for_other, policy.keeper.tools = chat.continue_after, chat.wait_for_other, registry.names()
    policy.tell_undecided(chat.end_wait)
    mcp.holds_patient_data, training.subjects = chat.may_hold_patient_data, _subjects(lab, registry)
    retention, erasure = _records(identity, ledger, vault, clock, db, jobs, training, chat.attachments.storage)
    _bind_personal(erasure, ChatPersonal(chat, db, vault, ledger, clock), PolicyPersonal(db, vault), LabPersonal(db))
    _bind_retained(retention, chat, tools, clock, settings, vault)
    rechecker = Rechecker(db, ledger, vault, clock, _restated(vault))
    services = Services(
        settings=settings, clock=clock, db=db, sequencer_db=sequencer_db, vault=vault, metrics=metrics, limiter=limiter, jobs=jobs,
        loops=loops, ledger=ledger, log_keys=key, rechecker=rechecker, sequencer=sequencer, identity=identity, signatures=signatures,
        training=training, alerts=_alerts(identity, ledger, vault, clock, db, jobs, settings), erasure=erasure,
        retention=retention, policy=policy, tools=tools, access=_access(chat, identity, ledger, vault, clock, settings),
        models=models, lab=lab, routing=routing, chat=chat, live=live, link=link, mcp=mcp,
        review=_review(chat, identity, ledger, vault, limiter, clock, settings),
        admin=AdminApi(db, identity, models, tools, chat, limiter, settings.limits, metrics, clock),
    )  # fmt: skip
    register_loops(services)
    return services


def _signatures(
    identity: IdentityApi, ledger: LedgerApi, vault: Vault, clock: Clock, settings: Settings
) -> tuple[TrainingApi, SignaturesApi]:  # fmt: skip
    """Training records, and signatures that may ask for them."""
    training = TrainingApi(identity=identity, ledger=ledger, vault=vault, clock=clock, settings=settings)
    signatures = SignaturesApi(
        identity=identity, ledger=ledger, vault=vault, clock=clock, settings=settings, trainings=training.valid
    )  # fmt: skip
    ledger.signature_lines = signatures.lines
    return training, signatures


def _subjects(lab: LabApi, registry: Registry) -> Subjects:
    """What people can be trained in: by its printed code, the one a training is later asked for by; also what is retired."""

    async def exists(tx: Transaction, kind: TrainingKind, code: str) -> bool:
        if kind == "tool":
            return code.casefold() in {name.casefold() for name in registry.names()}
        try:
            found = await (lab.protocol(tx, code) if kind == "protocol" else lab.instrument(tx, code))
        except (UnknownProtocol, UnknownInstrument, AmbiguousInstrument):
            return False
        return found.code.casefold() == code.casefold()

    return exists


def _dashboards(settings: Settings) -> Sequence[DashboardManifest]:
    return LAB_DASHBOARDS if settings.dashboards is None else settings.dashboards


def _registry(lab: LabApi, db: Database, ledger: LedgerApi, clock: Clock, settings: Settings) -> tuple[Registry, RemoteServers]:
    """The tools of this site, and the names of those of other servers, which come and go."""
    registry = Registry()
    for tool in lab_tools(lab):
        registry.register(tool)
    return registry, RemoteServers(settings.mcp_servers, registry, db, ledger, clock, settings.limits, settings.data_dir / "mcp")


def _review(
    chat: ChatApi, identity: IdentityApi, ledger: LedgerApi, vault: Vault, limiter: Limiter, clock: Clock, settings: Settings
) -> ReviewApi:  # fmt: skip
    """The review queue over the chat's answers."""
    review = ReviewApi(identity=identity, ledger=ledger, vault=vault, limiter=limiter, clock=clock, limits=settings.limits)
    review.messages = chat.reviewable
    if settings.review_bad_feedback:
        chat.feedback.flag_bad = review.flag_for_feedback
    return review


def _bind_signable(signatures: SignaturesApi, *kinds: SignableKind) -> None:
    for kind in kinds:
        signatures.register(kind)


def _records(
    identity: IdentityApi, ledger: LedgerApi, vault: Vault, clock: Clock, db: Database, jobs: Jobs, training: TrainingApi,
    blobs: Blobs,
) -> tuple[RetentionApi, ErasureApi]:  # fmt: skip
    """Retention, and erasures that it can stand against."""
    retention = RetentionApi(identity=identity, ledger=ledger, vault=vault, clock=clock, db=db, blobs=blobs)
    erasure = ErasureApi(identity=identity, ledger=ledger, vault=vault, clock=clock, db=db, jobs=jobs, obstacles=(retention,))
    erasure.register(TrainingPersonal(training, db))
    return retention, erasure


def _access(
    chat: ChatApi, identity: IdentityApi, ledger: LedgerApi, vault: Vault, clock: Clock, settings: Settings
) -> AccessApi:  # fmt: skip
    """Access records, told by the chat of what is read there."""
    minutes = settings.limits.break_glass_minutes
    access = AccessApi(identity=identity, ledger=ledger, vault=vault, clock=clock, records=ChatEmergency(), minutes=minutes)
    chat.record_reads(access.saw, access.granted)
    return access


def _alerts(
    identity: IdentityApi, ledger: LedgerApi, vault: Vault, clock: Clock, db: Database, jobs: Jobs, settings: Settings
) -> AlertsApi:  # fmt: skip
    return AlertsApi(identity=identity, ledger=ledger, vault=vault, clock=clock, db=db, jobs=jobs, settings=settings)


def _bind_retained(
    retention: RetentionApi, chat: ChatApi, tools: ToolsApi, clock: Clock, settings: Settings, vault: Vault
) -> None:  # fmt: skip
    """The records that are under schedules, and what asks for holds before it deletes a piece of them."""
    chat.attachments.files.require_unheld = retention.require_unheld
    retention.register(RetainedConversations(chat, tools, clock, settings, vault))
    retention.register(RetainedApprovals(vault))
    retention.register(RetainedInstrumentRuns(vault))


def _bind_personal(erasure: ErasureApi, *domains: PersonalData) -> None:
    for domain in domains:
        erasure.register(domain)


def _policy(
    ledger: LedgerApi, vault: Vault, clock: Clock, settings: Settings, limiter: Limiter, signatures: SignaturesApi, identity: IdentityApi,
    training: TrainingApi,
) -> PolicyApi:  # fmt: skip
    """The policy, starting with the bundle of the settings. Raises BundleRefused."""
    decisions = ApprovalSignatures(signatures)
    return PolicyApi(
        ledger, vault, clock, settings, verify_signature=decisions, leave_signature=decisions.leave, limiter=limiter,
        bundle_signatures=ActivationSignatures(signatures, identity), trainings=training.valid,
        bundle=None if settings.policy_bundle is None else read_source(settings.policy_bundle),
    )  # fmt: skip


def _link(settings: Settings, vault: Vault) -> ValkeyLink | None:
    """The link to other processes; its channels carry a name that only this site can derive."""
    if settings.valkey_url is None:
        return None
    return ValkeyLink(settings.valkey_url.get_secret_value(), vault.derive("link").hex()[:24])


def _file_tools(settings: Settings, vault: Vault) -> FileTools:
    """Where attached files are kept, and what looks into them."""
    limits = settings.limits
    bounds = Bounds(
        seconds=limits.document_seconds, memory_bytes=limits.document_memory_bytes, text_chars=limits.document_text_chars,
        unpacked_bytes=limits.document_unpacked_bytes, pixels=limits.document_pixels,
    )  # fmt: skip
    scanner = Scanner(settings.clamav_host, settings.clamav_port, limits.scan_seconds) if settings.clamav_host else None
    blobs = Blobs(vault, settings.data_dir / "blobs", settings.blob_url)
    return FileTools(blobs=blobs, documents=DocumentsApi(bounds), scanner=scanner)


def _restated(vault: Vault) -> Sequence[RestatedRecords]:
    """Whose rows are compared with the log."""
    return [
        RestatedPeople(vault), RestatedRuns(vault), RestatedDecisions(), RestatedApprovals(vault), RestatedBundles(vault),
        RestatedActivations(vault), RestatedChatRuns(vault), RestatedTraining(vault), RestatedKeys(), RestatedSessions(),
        RestatedIdentities(vault), RestatedSchedules(), RestatedHolds(), RestatedArchives(), RestatedGlasses(),
        RestatedPlans(vault), RestatedTools(),
    ]  # fmt: skip
