"""The same requests about login MFA and certificate logins to OpenBao and to Conclave: answers must be the same.

As same_identity.py; `{now}` and `{next}` stand for codes of the device whose secret an answer gave, now and one period
later, and the last part of a step is what it sends in X-Vault-MFA.
"""

import base64
import hashlib
import hmac
import json
import struct
import time
import urllib.parse

from same_identity import Server, compare
from wire import CA_CERT, request

ID = "/v1/identity/mfa"
TOTP = f"{ID}/method/totp"
ENFORCE = f"{ID}/login-enforcement"
UP = "/v1/auth/mfa-up"
CERT = "/v1/auth/mfa-cert"
HOUR_S = 3600
LOGIN = ("POST", f"{UP}/login/bob", {"password": "x"})
WAITING = {"waiting": "auth.mfa_requirement.mfa_request_id"}
# Method, path, body, what the answer gives names to, whose token is used, codes.
STEPS = [
    ("LIST", f"{ID}/method"), ("LIST", TOTP), ("GET", f"{TOTP}/0b1d5a3e-0000-0000-0000-000000000000"), ("LIST", ENFORCE), ("GET", f"{ENFORCE}/none"),
    ("POST", TOTP, {}), ("POST", TOTP, {"issuer": "I", "digits": 7}), ("POST", TOTP, {"issuer": "I", "skew": 2}), ("POST", TOTP, {"issuer": "I", "period": 0}),
    ("POST", TOTP, {"issuer": "I", "key_size": 0}), ("POST", TOTP, {"issuer": "I", "algorithm": "MD5"}), ("POST", TOTP, {"issuer": "I", "max_validation_attempts": -1}),
    ("POST", TOTP, {"issuer": "I", "method_name": "m", "period": "1h", "bogus": 1}, {"method": "data.method_id"}), ("GET", f"{TOTP}/{{method}}"),
    ("GET", f"{ID}/method/{{method}}"), ("LIST", TOTP), ("LIST", f"{ID}/method"), ("POST", TOTP, {"issuer": "I2", "method_name": "m", "period": "1h"}),
    ("POST", f"{TOTP}/{{method}}", {"issuer": "I3", "period": "1h", "digits": 8, "algorithm": "SHA256"}), ("GET", f"{TOTP}/{{method}}"),
    ("POST", f"{TOTP}/{{method}}", {"issuer": "Con clave/x", "period": "1h"}), ("POST", f"{TOTP}/0b1d5a3e-0000-0000-0000-000000000000", {"issuer": "I"}),
    ("POST", TOTP, {"issuer": "J"}, {"second": "data.method_id"}), ("GET", f"{TOTP}/{{second}}"),
    # Users.
    ("POST", "/v1/sys/auth/mfa-up", {"type": "userpass"}), ("GET", "/v1/sys/auth/mfa-up", None, {"accessor": "data.accessor"}),
    ("POST", f"{UP}/users/bob", {"password": "x", "token_ttl": "1h"}), (*LOGIN, {"bob": "auth.entity_id", "early": "auth.client_token"}),
    # Secrets.
    ("POST", f"{TOTP}/admin-generate", {}), ("POST", f"{TOTP}/admin-generate", {"method_id": "{method}"}), ("POST", f"{TOTP}/admin-generate", {"method_id": "none", "entity_id": "{bob}"}),
    ("POST", f"{TOTP}/admin-generate", {"method_id": "{method}", "entity_id": "none"}), ("POST", f"{TOTP}/generate", {"method_id": "{method}"}),
    ("POST", f"{TOTP}/admin-generate", {"method_id": "{method}", "entity_id": "{bob}"}, {"url": "data.url", "barcode": "data.barcode"}),
    ("POST", f"{TOTP}/admin-generate", {"method_id": "{method}", "entity_id": "{bob}"}),
    # Enforcements.
    ("POST", f"{ENFORCE}/e", {}), ("POST", f"{ENFORCE}/e", {"mfa_method_ids": ["none"]}), ("POST", f"{ENFORCE}/e", {"mfa_method_ids": ["{method}"]}),
    ("POST", f"{ENFORCE}/e", {"mfa_method_ids": ["{method}"], "auth_method_accessors": ["none"]}),
    ("POST", f"{ENFORCE}/e", {"mfa_method_ids": ["{method}"], "auth_method_types": ["none"]}),
    ("POST", f"{ENFORCE}/e", {"mfa_method_ids": ["{method}"], "identity_group_ids": ["none"]}),
    ("POST", f"{ENFORCE}/e", {"mfa_method_ids": ["{method}"], "identity_entity_ids": ["none"]}),
    ("POST", f"{ENFORCE}/e", {"mfa_method_ids": ["{method}"], "auth_method_accessors": ["{accessor}"]}), ("GET", f"{ENFORCE}/e", None, {"enforcement": "data.id"}),
    ("LIST", ENFORCE), ("DELETE", f"{TOTP}/{{method}}"),
    # Logins.
    (*LOGIN, WAITING), ("POST", "/v1/sys/mfa/validate", {}), ("POST", "/v1/sys/mfa/validate", {"mfa_request_id": "none"}),
    ("POST", "/v1/sys/mfa/validate", {"mfa_request_id": "none", "mfa_payload": {}}), ("POST", "/v1/sys/mfa/validate", {"mfa_request_id": "{waiting}", "mfa_payload": {"m": "x"}}),
    ("POST", "/v1/sys/mfa/validate", {"mfa_request_id": "{waiting}", "mfa_payload": {"{method}": ["x"]}}),
    ("POST", "/v1/sys/mfa/validate", {"mfa_request_id": "{waiting}", "mfa_payload": {"{method}": []}}),
    ("POST", "/v1/sys/mfa/validate", {"mfa_request_id": "{waiting}", "mfa_payload": {"other": ["{now}"]}}),
    ("POST", "/v1/sys/mfa/validate", {"mfa_request_id": "{waiting}", "mfa_payload": {"{method}": ["passcode={now}"]}}, {"late": "auth.client_token"}),
    ("GET", "/v1/auth/token/lookup-self", None, {}, "{late}"), ("POST", "/v1/sys/mfa/validate", {"mfa_request_id": "{waiting}", "mfa_payload": {"{method}": ["{next}"]}}),
    (*LOGIN, {}, None, ["m:{now}"]), (*LOGIN, {}, None, [":1"]), (*LOGIN, {}, None, ["{method}:"]), (*LOGIN, {}, None, ["m"]), (*LOGIN, {}, None, ["other:{next}"]),
    (*LOGIN, {}, None, ["{method}:{next}"]), (*LOGIN, {}, None, ["{method}:{next}"]),
    ("DELETE", f"{ENFORCE}/e"), ("DELETE", f"{ENFORCE}/e"), (*LOGIN, {}, None, ["m:1"]),
    ("POST", f"{TOTP}/admin-destroy", {}), ("POST", f"{TOTP}/admin-destroy", {"method_id": "{method}"}), ("POST", f"{TOTP}/admin-destroy", {"method_id": "{method}", "entity_id": "none"}),
    ("POST", f"{TOTP}/admin-destroy", {"method_id": "none", "entity_id": "{bob}"}), ("POST", f"{TOTP}/admin-destroy", {"method_id": "{method}", "entity_id": "{bob}"}),
    ("DELETE", f"{TOTP}/{{second}}"), ("DELETE", f"{TOTP}/{{method}}"), ("DELETE", f"{TOTP}/{{method}}"), ("GET", f"{TOTP}/{{method}}"),
    # Certificates, as far as they go without a handshake.
    ("POST", "/v1/sys/auth/mfa-cert", {"type": "cert"}), ("GET", f"{CERT}/config"), ("POST", f"{CERT}/config", {"disable_binding": True}), ("GET", f"{CERT}/config"),
    ("LIST", f"{CERT}/certs"), ("GET", f"{CERT}/certs/none"), ("DELETE", f"{CERT}/certs/none"), ("POST", f"{CERT}/certs/x", {}), ("POST", f"{CERT}/certs/x", {"certificate": "x"}),
    ("LIST", f"{CERT}/crls"), ("GET", f"{CERT}/crls/none"), ("DELETE", f"{CERT}/crls/none"), ("POST", f"{CERT}/crls/x", {}), ("GET", f"{CERT}/login"), ("DELETE", f"{CERT}/config"),
    ("POST", f"{CERT}/certs/x", {"certificate": "{authority}", "display_name": "d", "policies": "a,b", "ttl": "1h", "allowed_common_names": "a,b*", "required_extensions": "1.2.3:x"}),
    ("GET", f"{CERT}/certs/X"), ("LIST", f"{CERT}/certs"), ("POST", f"{CERT}/certs/y", {"certificate": "{authority}", "token_ttl": "900h", "token_max_ttl": "1000h"}),
    ("GET", f"{CERT}/certs/y"), ("POST", f"{CERT}/certs/y", {"token_ttl": "5h", "token_max_ttl": "1h"}), ("DELETE", f"{CERT}/certs/x"), ("DELETE", "/v1/sys/auth/mfa-cert"),
]

# Refusals with the same status whose sentence is Conclave's own, most often without what OpenBao puts around it.
OWN_WORDS = {
    *(f'POST /v1/sys/mfa/validate {{"mfa_request_id": "{{waiting}}", "mfa_payload": {{{payload}}}}}'
      for payload in ('"{method}": ["x"]', '"{method}": []', '"other": ["{now}"]')),
    *(f'POST /v1/auth/mfa-up/login/bob {{"password": "x"}} with {header}' for header in (":1", "{method}:")),
    "DELETE /v1/auth/mfa-cert/config",
}

# What Conclave answers otherwise on purpose, and why.
DIFFERENT = {
    'POST /v1/identity/mfa/method/totp/admin-generate {"method_id": "{method}", "entity_id": "{bob}"}':
        "a slash in a label is escaped, as in all of the URL",
    "DELETE /v1/identity/mfa/method/totp/{method}": "what is wrong with a request is the caller's matter: 400, where OpenBao answers 500",
}


def code(url, steps):
    """The code of a device, so many periods from now."""
    query = urllib.parse.parse_qs(urllib.parse.urlparse(url).query)
    secret = query["secret"][0]
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    counter = struct.pack(">Q", int(time.time()) // HOUR_S + steps)
    digest = hmac.new(key, counter, hashlib.sha1).digest()
    at = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[at:at + 4])[0] & 0x7FFFFFFF) % 10 ** 6:06}"


class Device(Server):
    def __init__(self, address, token):
        super().__init__(address, token)
        with open(CA_CERT, encoding="utf-8") as file:
            # As it stands in JSON.
            self.names["authority"] = json.dumps(file.read())[1:-1]

    def fill(self, text):
        if "url" in self.names:
            text = text.replace("{now}", code(self.names["url"], 0)).replace("{next}", code(self.names["url"], 1))
        return super().fill(text)

    def send(self, method, path, body, token, *more):
        headers = [("X-Vault-MFA", self.fill(text)) for text in (more[0] if more else [])]
        return request(self.address, method, path, body, token, dict(headers))


if __name__ == "__main__":
    compare(STEPS, OWN_WORDS, DIFFERENT, Device)
