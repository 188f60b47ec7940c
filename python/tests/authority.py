"""An authority for tests: signs certificates and revocations as files have them.

In this language alone, from the wire format: so it shows that the format is what it is
said to be. Ed25519 is that of RFC 8032, slow, and no match for who measures times.
"""

import base64
import hashlib
import os
import time

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f, g * h, f * g, e * h)


def times(n, p):
    product = (0, 1, 1, 0)
    while n:
        if n & 1:
            product = add(product, p)
        p, n = add(p, p), n >> 1
    return product


def base():
    y = 4 * pow(5, P - 2, P) % P
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    x = x if x % 2 == 0 else P - x
    return (x, y, 1, x * y % P)


BASE = base()


def compressed(p):
    inverse = pow(p[2], P - 2, P)
    x, y = p[0] * inverse % P, p[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def number(*parts):
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little")


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def field(n, value):
    """A field of a protobuf message."""
    if isinstance(value, int):
        return varint(n << 3) + varint(value)
    return varint(n << 3 | 2) + varint(len(value)) + value


def id_bytes(text):
    number = 0
    for digit in text:
        number = number * 58 + ALPHABET.index(digit)
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def id_text(value):
    number, text = int.from_bytes(value, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = ALPHABET[digit] + text
    return "1" * (len(value) - len(value.lstrip(b"\0"))) + text


class Authority:
    def __init__(self):
        seed = hashlib.sha512(os.urandom(32)).digest()
        self.prefix = seed[32:]
        secret = int.from_bytes(seed[:32], "little")
        self.secret = secret & (1 << 254) - 8 | 1 << 254
        self.public = compressed(times(self.secret, BASE))
        self.key = field(1, 1) + field(2, self.public)
        self.id = id_text(b"\0" + bytes([len(self.key)]) + self.key)
        self.signed = 0

    def sign(self, data):
        r = number(self.prefix, data) % L
        point = compressed(times(r, BASE))
        s = (r + number(point, self.public, data) * self.secret) % L
        return point + s.to_bytes(32, "little")

    def file(self, kind, payload):
        domain, payload_type = f"casm-admit-{kind}".encode(), f"/casm/admit/{kind}".encode()
        parts = (domain, payload_type, payload)
        signature = self.sign(b"".join(varint(len(part)) + part for part in parts))
        envelope = field(1, self.key) + field(2, payload_type) + field(3, payload)
        digits = base64.b64encode(envelope + field(5, signature)).decode()
        lines = [digits[at : at + 64] for at in range(0, len(digits), 64)]
        label = f"CASM {kind.upper()}-----"
        return "\n".join([f"-----BEGIN {label}", *lines, f"-----END {label}", ""]).encode()

    def certificate(self, peer, namespace, *roles):
        """The file of a certificate, signed a second after the one before: of a peer's
        the one that was signed last counts."""
        self.signed += 1
        issued = int(time.time()) - 1000 + self.signed
        payload = field(1, id_bytes(peer)) + field(2, namespace.encode())
        payload += b"".join(field(3, role.encode()) for role in sorted(roles))
        payload += field(4, issued) + field(5, issued + 3600) + field(6, issued)
        return self.file("certificate", payload + field(7, os.urandom(16)))

    def revocation(self, peer):
        """The file of a revocation of what was signed until now."""
        now = int(time.time())
        payload = field(1, id_bytes(peer)) + field(2, now) + field(3, now + 3600)
        return self.file("revocation", payload)
