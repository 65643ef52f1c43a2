"""RFC 3161 time stamps. Judging their signatures needs the library `rfc3161-client`; without it they are said to be unchecked."""

from pathlib import Path
from typing import Any

from cryptography import x509

from aliquot_verify.faults import Fault, Unusable

_CERTIFICATES_BYTES_MAX = 1_000_000


class StampError(Exception):
    """The token does not stamp what it should, or is not by the pinned authority; the text says which."""


def roots(path: Path) -> list[x509.Certificate]:
    """The certificates in a PEM file. Raises Unusable."""
    try:
        raw = path.read_bytes() if path.stat().st_size <= _CERTIFICATES_BYTES_MAX else b""
        return x509.load_pem_x509_certificates(raw)
    except (OSError, ValueError) as error:
        raise Unusable(Fault.BAD_KEY, "--tsa: the file holds no certificates in PEM form") from error


def stamped_at(token: bytes, data: bytes, authority: list[x509.Certificate]) -> float:
    """When the authority saw `data` (Unix time). `token` is a whole RFC 3161 response. Raises StampError; Unusable without the library."""
    try:
        import rfc3161_client  # noqa: PLC0415 - optional
    except ImportError as error:
        text = "time stamps cannot be checked here: install rfc3161-client, or leave --tsa out"
        raise Unusable(Fault.UNSUPPORTED, text, "anchors.json") from error
    builder = rfc3161_client.VerifierBuilder()
    for certificate in authority:
        builder = builder.add_root_certificate(certificate)
    try:
        response: Any = rfc3161_client.decode_timestamp_response(token)
        builder.build().verify_message(response, data)
        return float(response.tst_info.gen_time.timestamp())
    except (ValueError, rfc3161_client.VerificationError) as error:
        raise StampError("it is not by the pinned authority") from error
