"""A small MQTT 3.1.1 client for tests: QoS 0, one thread that reads, over TLS with a certificate of one's own."""
import socket
import ssl
import struct
import threading
import time


def _text(value):
    value = value.encode()
    return struct.pack(">H", len(value)) + value


def _packet(kind, body):
    length, out = len(body), bytearray([kind])
    while True:
        byte = length & 0x7F
        length >>= 7
        out.append(byte | (0x80 if length else 0))
        if not length:
            return bytes(out) + body


class Client:
    """on_message(topic, payload, monotonic time of arrival) is called on the reading thread."""

    def __init__(self, port, name, pki, on_message=None):
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.check_hostname = False
        context.load_cert_chain(str(pki / f"{name}.crt"), str(pki / f"{name}.key"))
        raw = socket.create_connection(("127.0.0.1", port), timeout=10)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(raw)
        self.lock, self.on_message, self.subscribed = threading.Lock(), on_message, threading.Event()
        self._send(_packet(0x10, _text("MQTT") + b"\x04\x02" + struct.pack(">H", 600) + _text(name)))
        kind, body = self._read()
        if kind != 0x20 or body[1] != 0:
            raise OSError(f"not connected: {body!r}")
        self.socket.settimeout(None)
        threading.Thread(target=self._run, daemon=True).start()

    def subscribe(self, topic):
        self.subscribed.clear()
        self._send(_packet(0x82, b"\x00\x01" + _text(topic) + b"\x00"))
        if not self.subscribed.wait(10):
            raise OSError("not subscribed")

    def publish(self, topic, payload):
        self._send(_packet(0x30, _text(topic) + payload))

    def close(self):
        try:
            self._send(b"\xe0\x00")
            self.socket.close()
        except OSError:
            pass

    def _send(self, packet):
        with self.lock:
            self.socket.sendall(packet)

    def _exactly(self, count):
        out = b""
        while len(out) < count:
            part = self.socket.recv(count - len(out))
            if not part:
                raise OSError("closed")
            out += part
        return out

    def _read(self):
        kind, length, shift = self._exactly(1)[0], 0, 0
        while True:
            byte = self._exactly(1)[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return kind & 0xF0, self._exactly(length)

    def _run(self):
        try:
            while True:
                kind, body = self._read()
                if kind == 0x90:
                    self.subscribed.set()
                elif kind == 0x30 and self.on_message is not None:
                    end = 2 + struct.unpack(">H", body[:2])[0]
                    self.on_message(body[2:end].decode(), body[end:], time.monotonic())
        except OSError:
            pass
