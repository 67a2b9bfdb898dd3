"""What logins ask of others, as one small server: a signer's keys, an OpenID provider, and a Kubernetes cluster's reviews."""

import base64
import hashlib
import http.server
import json
import pathlib
import threading
import time
import urllib.parse

_KEY_FILE = pathlib.Path(__file__).parents[2] / "core/src/auth/jose/vectors/rsa.txt"
# What stands before a SHA-256 in what RSA signs (RFC 8017, 9.2).
_SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
CERTIFICATE = (_KEY_FILE.parent / "certificate.txt").read_text(encoding="utf-8")


def _integers(der):
    """The whole numbers of a DER structure, in order; those inside texts of octets too."""
    found, at = [], 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length & 0x80:
            count = length & 0x7F
            length, at = int.from_bytes(der[at:at + count], "big"), at + count
        content, at = der[at:at + length], at + length
        if tag == 2:
            found.append(int.from_bytes(content, "big"))
        elif tag in (0x30, 0x04):
            found += _integers(content)
    return found


# The version of each of two structures, and the key: modulus, public and private exponent.
_N, _E, _D = _integers(base64.b64decode(_KEY_FILE.read_text(encoding="utf-8")))[2:5]


def _text(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _number(value):
    return _text(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def sign(claims, kid="k", alg="RS256"):
    """A token with these claims, by RS256 whatever its header says."""
    parts = [_text(json.dumps(part).encode()) for part in ({"alg": alg, "typ": "JWT", "kid": kid}, claims)]
    signed = ".".join(parts).encode()
    size = (_N.bit_length() + 7) // 8
    info = _SHA256_INFO + hashlib.sha256(signed).digest()
    padded = b"\x00\x01" + b"\xff" * (size - len(info) - 3) + b"\x00" + info
    signature = pow(int.from_bytes(padded, "big"), _D, _N).to_bytes(size, "big")
    return ".".join([*parts, _text(signature)])


def public_key():
    """The same key in PEM, in its general form."""
    def wrapped(tag, content):
        length = len(content)
        size = bytes([length]) if length < 128 else (lambda raw: bytes([0x80 | len(raw)]) + raw)(
            length.to_bytes((length.bit_length() + 7) // 8, "big"))
        return bytes([tag]) + size + content
    number = lambda value: wrapped(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))
    info = wrapped(0x30, bytes.fromhex("06092a864886f70d0101010500"))
    key = wrapped(0x30, info + wrapped(3, b"\x00" + wrapped(0x30, number(_N) + number(_E))))
    return f"-----BEGIN PUBLIC KEY-----\n{base64.encodebytes(key).decode()}-----END PUBLIC KEY-----\n"


class Signer:
    """`with Signer() as signer`: it listens at `signer.url` until the end."""

    def __init__(self):
        # What is granted for a code, and what was asked.
        self.codes, self.asked = {}, []
        # Tokens that no review confirms.
        self.gone = set()

    def __enter__(self):
        signer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.answer(None)

            def do_POST(self):
                self.answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

            def answer(self, body):
                status, told = signer.tell(self.path, body, self.headers)
                text = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def tell(self, path, body, headers):
        self.asked.append(path)
        if path == "/.well-known/openid-configuration":
            return 200, {"issuer": self.url, "jwks_uri": f"{self.url}/keys", "authorization_endpoint": f"{self.url}/authorize",
                         "token_endpoint": f"{self.url}/token", "userinfo_endpoint": f"{self.url}/user",
                         "id_token_signing_alg_values_supported": ["RS256"], "response_types_supported": ["code"],
                         "subject_types_supported": ["public"]}
        if path == "/keys":
            return 200, {"keys": [{"kty": "RSA", "kid": "k", "use": "sig", "alg": "RS256", "n": _number(_N), "e": _number(_E)}]}
        if path == "/token" and body is not None:
            return self.grant(dict(urllib.parse.parse_qsl(body.decode())), headers)
        if path == "/user":
            return 200, {"sub": "ada", "email": "ada@example.com"}
        if path == "/apis/authentication.k8s.io/v1/tokenreviews" and body is not None:
            return self.review(json.loads(body), headers)
        return 404, {"error": "not found"}

    def grant(self, form, headers):
        basic = "Basic " + base64.b64encode(b"client:s3cret").decode()
        claims, challenge = self.codes.pop(form.get("code"), (None, None))
        proven = _text(hashlib.sha256(form.get("code_verifier", "").encode()).digest()) == challenge
        if headers.get("Authorization") != basic or claims is None or not proven:
            return 400, {"error": "invalid_grant"}
        return 200, {"access_token": "at", "token_type": "Bearer", "id_token": sign(claims)}

    def promise(self, url, more):
        """A code for whoever was sent to `url`, as if he had logged in."""
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlparse(url).query))
        now = int(time.time())
        code = f"code{len(self.asked)}-{len(self.codes)}"
        claims = {"iss": self.url, "aud": query["client_id"], "sub": "ada", "iat": now, "exp": now + 300, "nonce": query["nonce"], **more}
        self.codes[code] = (claims, query["code_challenge"])
        return query["state"], code

    def review(self, asked, headers):
        token, audiences = asked["spec"]["token"], asked["spec"].get("audiences") or []
        if headers.get("Authorization") not in (f"Bearer {token}", "Bearer reviewer"):
            return 401, {"kind": "Status", "status": "Failure", "code": 401}
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        own = claims["kubernetes.io"]
        if token in self.gone:
            return 201, {"kind": "TokenReview", "status": {"authenticated": False, "error": "gone"}}
        user = {"username": f"system:serviceaccount:{own['namespace']}:{own['serviceaccount']['name']}", "uid": own["serviceaccount"]["uid"]}
        held = [one for one in audiences if one in claims.get("aud", [])]
        return 201, {"kind": "TokenReview", "status": {"authenticated": True, "user": user, "audiences": held}}
