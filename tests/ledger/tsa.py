"""A time-stamping authority of our own: RFC 3161 responses in DER, written by hand, with an RSA key and a two-certificate chain."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_SHA256 = b"\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00"
_RSA = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00"  # sha256WithRSAEncryption


def _tlv(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    size = len(body).to_bytes(max(1, (len(body).bit_length() + 7) // 8), "big")
    return bytes([tag]) + (size if len(body) < 128 else bytes([0x80 | len(size)]) + size) + body


def _oid(dotted: str) -> bytes:
    first, second, *rest = (int(part) for part in dotted.split("."))
    body = bytes([first * 40 + second])
    for number in rest:
        digits = [number & 127]
        while number := number >> 7:
            digits.append(number & 127 | 128)
        body += bytes(reversed(digits))
    return _tlv(6, body)


def _int(value: int) -> bytes:
    return _tlv(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _certificate(name: str, key: rsa.RSAPrivateKey, issuer: str, issuer_key: rsa.RSAPrivateKey, *, ca: bool) -> x509.Certificate:
    at = datetime(2020, 1, 1, tzinfo=UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(1 if ca else 2)
        .not_valid_before(at)
        .not_valid_after(at + timedelta(days=20_000))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


@dataclass
class Authority:
    """Stamps at the time its clock says."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    requests: int = 0
    fail: bool = False
    _keys: tuple[rsa.RSAPrivateKey, rsa.RSAPrivateKey] = field(
        default_factory=lambda: (rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 2048))
    )

    def __post_init__(self) -> None:
        root, leaf = self._keys
        self.root = _certificate("Test root", root, "Test root", root, ca=True)
        self._leaf = _certificate("Test TSA", leaf, "Test root", root, ca=False)

    @property
    def pem(self) -> bytes:
        return self.root.public_bytes(serialization.Encoding.PEM)

    def stamp(self, data: bytes, nonce: int = 1) -> bytes:
        """A granted response over `data`."""
        return self.stamp_digest(hashlib.sha256(data).digest(), nonce)

    def stamp_digest(self, digest: bytes, nonce: int) -> bytes:
        at = self.now().strftime("%Y%m%d%H%M%SZ").encode()
        imprint = _tlv(0x30, _SHA256, _tlv(4, digest))
        info = _tlv(0x30, _int(1), _oid("1.2.3.4"), imprint, _int(7), _tlv(0x18, at), _int(nonce))
        der = self._leaf.public_bytes(serialization.Encoding.DER)
        certificate_id = _tlv(0x30, _tlv(4, hashlib.sha256(der).digest()))
        attributes = sorted(
            [
                _tlv(0x30, _oid("1.2.840.113549.1.9.3"), _tlv(0x31, _oid("1.2.840.113549.1.9.16.1.4"))),
                _tlv(0x30, _oid("1.2.840.113549.1.9.4"), _tlv(0x31, _tlv(4, hashlib.sha256(info).digest()))),
                _tlv(0x30, _oid("1.2.840.113549.1.9.16.2.47"), _tlv(0x31, _tlv(0x30, _tlv(0x30, certificate_id)))),
            ]
        )
        signature = self._keys[1].sign(_tlv(0x31, *attributes), padding.PKCS1v15(), hashes.SHA256())
        issuer = _tlv(0x30, self._leaf.issuer.public_bytes(), _int(self._leaf.serial_number))
        signer = _tlv(0x30, _int(1), issuer, _SHA256, _tlv(0xA0, *attributes), _RSA, _tlv(4, signature))
        content = _tlv(0x30, _oid("1.2.840.113549.1.9.16.1.4"), _tlv(0xA0, _tlv(4, info)))
        signed = _tlv(0x30, _int(3), _tlv(0x31, _SHA256), content, _tlv(0xA0, der), _tlv(0x31, signer))
        token = _tlv(0x30, _oid("1.2.840.113549.1.7.2"), _tlv(0xA0, signed))
        return _tlv(0x30, _tlv(0x30, _int(0)), token)


@contextmanager
def serving(authority: Authority) -> Iterator[str]:
    """The authority over HTTP on loopback; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            authority.requests += 1
            if authority.fail:
                self.send_error(500)
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer(authority, body))

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/tsa"
    finally:
        server.shutdown()
        server.server_close()


def answer(authority: Authority, request: bytes) -> bytes:
    """Reads the imprint and nonce out of a request as `rfc3161_client` writes it (SHA-256, with nonce)."""
    at = request.index(_SHA256) + len(_SHA256)
    digest, rest = request[at + 2 : at + 34], request[at + 34 :]
    nonce = int.from_bytes(rest[2 : 2 + rest[1]], "big")
    return authority.stamp_digest(digest, nonce)
