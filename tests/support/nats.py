"""A NATS JetStream cluster on loopback for the system tests, and a client of its own for reading a stream back: the text
protocol over a socket, nothing of the library that the product uses."""
import json
import random
import signal
import socket
import time

from plant import Process, free_port, wait_for


class Client:
    """One connection. request() answers JSON; read_stream() yields (sequence, subject, headers, payload)."""

    def __init__(self, port, timeout=10):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout)
        self.file = self.sock.makefile("rb", 1 << 20)
        self.inbox = f"_INBOX.test{random.getrandbits(48):x}"
        self.file.readline()  # INFO
        self.send('CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\n'
                  f"SUB {self.inbox}.> 1\r\nPING\r\n")
        while self.file.readline().strip() != b"PONG":
            pass

    def send(self, text):
        self.sock.sendall(text.encode())

    def close(self):
        self.sock.close()

    def next(self):
        """The next message: subject, reply, headers, payload."""
        while True:
            line = self.file.readline()
            if not line:
                raise OSError("connection closed")
            words = line.split()
            if words[0] == b"PING":
                self.send("PONG\r\n")
            elif words[0] == b"-ERR":
                raise OSError(line.decode().strip())
            elif words[0] in (b"MSG", b"HMSG"):
                size = int(words[-1])
                data = self.file.read(size + 2)[:-2]
                split = int(words[-2]) if words[0] == b"HMSG" else 0
                reply = words[3] if len(words) == (6 if words[0] == b"HMSG" else 5) else b""
                headers = dict(h.split(": ", 1) for h in data[:split].decode().split("\r\n")[1:] if ": " in h)
                if words[0] == b"HMSG" and b" 503" in data[:split].split(b"\r\n", 1)[0]:
                    raise OSError("no responders")
                return words[1].decode(), reply.decode(), headers, data[split:]

    def send_request(self, subject, body=None):
        payload = json.dumps(body) if body is not None else ""
        token = f"{self.inbox}.{random.getrandbits(32):x}"
        self.send(f"PUB {subject} {token} {len(payload)}\r\n{payload}\r\n")
        return token

    def request(self, subject, body=None):
        token = self.send_request(subject, body)
        while True:
            at, _, _, data = self.next()
            if at == token:
                return json.loads(data)

    def stream_info(self, stream):
        return self.request(f"$JS.API.STREAM.INFO.{stream}")

    def read_stream(self, stream):
        info = self.stream_info(stream)
        if "error" in info or info["state"]["messages"] == 0:
            return
        made = self.request(f"$JS.API.CONSUMER.CREATE.{stream}", {"stream_name": stream, "config": {
            "deliver_policy": "all", "ack_policy": "none", "replay_policy": "instant", "num_replicas": 1,
            "inactive_threshold": 60_000_000_000}})
        if "error" in made:
            raise OSError(str(made["error"]))
        pending, asked = 1, 0
        while pending:
            if asked == 0:  # asked for in portions: a reader that is pushed at and too slow is thrown out
                asked = 4096
                self.send_request(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{made['name']}", {"batch": asked, "no_wait": True})
            subject, reply, headers, payload = self.next()
            words = reply.split(".")  # $JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<its own>.<time>.<pending>
            if words[:2] == ["$JS", "ACK"]:
                pending, asked = int(words[-1]), asked - 1
                yield int(words[-4]), subject, headers, payload
            else:  # a status: the portion is over
                asked = 0


class Cluster:
    """size servers of one cluster; killed and started again by name."""

    def __init__(self, plant, size=3):
        self.home = plant.dir
        self.names = [f"nats{n}" for n in range(1, size + 1)]
        self.ports = {name: free_port() for name in self.names}
        links = {name: free_port() for name in self.names}
        routes = ", ".join(f"nats-route://127.0.0.1:{port}" for port in links.values())
        self.servers = {}
        for name in self.names:
            home = plant.dir / name
            home.mkdir()
            conf = home / "nats.conf"
            cluster = f'cluster {{ name: weir, listen: "127.0.0.1:{links[name]}", routes: [{routes}] }}\n' if size > 1 else ""
            conf.write_text(f'server_name: {name}\nlisten: "127.0.0.1:{self.ports[name]}"\n'
                            f'jetstream {{ store_dir: "{home}/store", max_mem: 64MiB, max_file: 4GiB }}\n' + cluster)
            self.servers[name] = Process(plant, name, ["nats-server", "-c", str(conf)])

    def start(self):
        for server in self.servers.values():
            server.start()

    def set_max_payload(self, size):
        """Of all servers, without a restart."""
        for name, server in self.servers.items():
            conf = self.home / name / "nats.conf"
            lines = [line for line in conf.read_text().splitlines() if not line.startswith("max_payload")]
            conf.write_text("\n".join([*lines, f"max_payload: {size}", ""]))
            server.popen.send_signal(signal.SIGHUP)

    def urls(self):
        return [f"nats://127.0.0.1:{port}" for port in self.ports.values()]

    def client(self):
        """Of any server that is up and has a JetStream with a leader."""
        for name, server in self.servers.items():
            if server.alive():
                try:
                    client = Client(self.ports[name])
                    if "error" not in client.request("$JS.API.INFO"):
                        return client
                    client.close()
                except OSError:
                    pass
        return None

    def ready(self, seconds=60):
        def answers():
            client = self.client()
            if client:
                client.close()
            return client is not None
        return wait_for(answers, seconds, "JetStream to have a leader")

    def leader(self, stream):
        """Name of the server that leads the stream, None when nobody knows now."""
        try:
            client = self.client()
            info = client.stream_info(stream) if client else {}
            if client:
                client.close()
            return info.get("cluster", {}).get("leader") or (self.names[0] if "config" in info and len(self.names) == 1 else None)
        except OSError:
            return None

    def current(self, stream):
        """Whether every replica is up with the leader."""
        try:
            client = self.client()
            info = client.stream_info(stream) if client else {}
            if client:
                client.close()
            replicas = info.get("cluster", {}).get("replicas", [])
            return len(replicas) == len(self.names) - 1 and all(r.get("current") and not r.get("offline") for r in replicas)
        except OSError:
            return False

    def read(self, stream, seconds=60):
        """All messages, from a server that can tell; tries again while the cluster is in between leaders."""
        end = time.monotonic() + seconds
        while True:
            try:
                client = self.client()
                if client is None:
                    raise OSError("no server answers")
                messages = list(client.read_stream(stream))
                client.close()
                return messages
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)

    def kill(self):
        for server in self.servers.values():
            server.kill()
