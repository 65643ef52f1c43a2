"""The HTTP side of a witness: `POST /add-checkpoint` of C2SP tlog-witness, nothing else."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aliquot_verify.merkle import HASH
from aliquot_verify.strict import strict_base64
from aliquot_verify.witness import Refused, Witness, by_proof

_BODY_BYTES_MAX = 110_000
_PROOF_LINES_MAX = 63


def serve(witness: Witness, host: str, port: int) -> int:
    """Answer until interrupted."""
    with server(witness, host, port) as running:
        print(f"http://{host}:{running.server_address[1]}/add-checkpoint", flush=True)
        try:
            running.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0


def server(witness: Witness, host: str, port: int) -> ThreadingHTTPServer:
    """A listening server; port 0 takes a free one."""

    class Handler(_Handler):
        asked = witness

    return ThreadingHTTPServer((host, port), Handler)


class _Handler(BaseHTTPRequestHandler):
    asked: Witness
    timeout = 30
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        try:
            if self.path != "/add-checkpoint":
                raise Refused(404, "unknown", "there is only /add-checkpoint")
            old, proof, note = _parse(self._body())
            self._answer(200, self.asked.add(note, by_proof(proof), old=old), "text/plain; charset=utf-8")
        except Refused as refusal:
            kind = "text/x.tlog.size" if refusal.status == 409 else "text/plain; charset=utf-8"
            self._answer(refusal.status, f"{refusal}\n", kind)

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _BODY_BYTES_MAX:
            self.close_connection = True
            raise Refused(400, "malformed", "the request has no length, or is too long")
        return self.rfile.read(int(length))

    def _answer(self, status: int, text: str, kind: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Nothing: standard error is for failures."""


def _parse(body: bytes) -> tuple[int, list[bytes], bytes]:
    head, separator, note = body.partition(b"\n\n")
    first, *lines = head.split(b"\n")
    size = first.removeprefix(b"old ")
    if not separator or first == size or not size.isdigit() or len(size) > 15 or str(int(size)).encode() != size:
        raise Refused(400, "malformed", "the request does not begin with the old size")
    if len(lines) > _PROOF_LINES_MAX:
        raise Refused(400, "malformed", "the consistency proof is too long")
    try:
        proof = [strict_base64(line.decode("ascii")) for line in lines]
        if any(len(part) != HASH for part in proof):
            raise ValueError
        return int(size), proof, note
    except ValueError as error:
        raise Refused(400, "malformed", "the consistency proof is malformed") from error
