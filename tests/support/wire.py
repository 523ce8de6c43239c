"""A second, independent encoder of proto/schema/weir.proto, for tests that send what the real programs never would."""
import struct


def varint(value):
    out = bytearray()
    while True:
        byte = value & 0x7F
        value >>= 7
        out.append(byte | (0x80 if value else 0))
        if not value:
            return bytes(out)


def u64(field, value):
    return varint(field << 3) + varint(value) if value else b""


def fixed64(field, value):
    return varint(field << 3 | 1) + struct.pack("<Q", value)


def double(field, value):
    return varint(field << 3 | 1) + struct.pack("<d", value)


def fixed32(field, value):
    return varint(field << 3 | 5) + struct.pack("<I", value)


def data(field, value):
    if isinstance(value, str):
        value = value.encode()
    return varint(field << 3 | 2) + varint(len(value)) + value


def event(text="hello", value=1.0, schema=1, severity=0):
    body = data(1, "test-event") + u64(2, severity) + u64(3, 1767225600000000) + data(5, text) + double(7, value)
    return u64(1, schema) + data(11, body)


def describe(resolution):
    return u64(1, 1) + data(15, fixed32(1, 7) + data(2, data(1, "x") + double(3, resolution)))


def gap(first, last):
    return u64(1, 1) + u64(2, last - first + 1) + data(13, u64(1, first) + u64(2, last))


def frame(sender, epoch, first, records, base=None, top=None, boot=77, boot_seq=1, boot_top=0, version=1, lane=1, hello=True):
    base = first if base is None else base
    top = first + len(records) - 1 if top is None else top
    out = u64(1, version) + data(2, sender) + fixed64(3, epoch) + u64(4, first) + u64(5, max(first - base, 0)) + \
        u64(6, max(top - first, 0)) + fixed32(7, boot) + u64(8, lane)
    if hello:
        out += data(9, u64(1, boot_seq) + u64(2, boot_top))
    return out + b"".join(data(10, r) for r in records)


GIVEN, UNSURE, BUSY, NO_MODEL, BAD = range(5)


def ask(site, gateway, device, number, model, deadline_ms, values, own=(0, 0.5), form=0, rows=1):
    """values: floats (form 0: features, 2: a raw window of `rows` samples)."""
    packed = struct.pack(f"<{len(values)}f", *values)
    return u64(1, 1) + data(2, site) + data(3, gateway) + data(4, device) + fixed64(5, number) + fixed64(6, model) + \
        u64(7, deadline_ms) + u64(8, own[0]) + varint(9 << 3 | 5) + struct.pack("<f", own[1]) + u64(10, form) + u64(11, rows) + \
        u64(12, len(values) // rows) + data(15, packed)


def fields(message):
    """{number: value} of a message without repeated fields: ints, bytes."""
    found, at = {}, 0

    def number():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value
    while at < len(message):
        key = number()
        kind = key & 7
        if kind == 0:
            found[key >> 3] = number()
        else:
            size = {1: 8, 5: 4}.get(kind) or number()
            found[key >> 3] = message[at:at + size]
            at += size
    return found


def answer(message):
    f = fields(message)
    return {"device": f.get(2, b"").decode(), "id": struct.unpack("<Q", f[3])[0], "status": f.get(4, 0),
            "model": struct.unpack("<Q", f.get(5, bytes(8)))[0], "engine": f.get(6, b"").decode(), "answer": f.get(7, 0),
            "confidence": struct.unpack("<f", f.get(8, bytes(4)))[0], "took_us": f.get(10, 0)}
