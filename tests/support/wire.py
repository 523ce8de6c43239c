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
