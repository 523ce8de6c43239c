"""A small plant on loopback for the system tests: brokers, gateway, bridge, devices, each a real process that is started
and stopped by its pid. Everything lives in one temporary folder."""
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]


def log(*words):
    print(*words, file=sys.stderr, flush=True)


# For the pattern driver, whose values are spread over -2^20..2^20: every way that a reading can take at a gateway. What
# device-2 has on pattern_0 never goes up.
RULES = """rules:
  peak: {channels: pattern_0, do: capture, above: 1040000, before: 200ms, after: 100ms}
  calm: {channels: pattern_0, do: deadband, abs: 400000}
  second: {channels: pattern_1, do: window, length: 1s, late: 100ms, quantiles: [0.5], raw: drop}
  quiet: {devices: device-2, channels: pattern_0, do: range, min: 2000000, max: 3000000}
"""


def find_bin(name):
    """The programs under test: $WEIR_BIN, else the newest build among asan and release."""
    folders = [pathlib.Path(os.environ["WEIR_BIN"]).resolve()] if "WEIR_BIN" in os.environ else [
        ROOT / "build" / preset / "bin" for preset in ("asan", "release", "dev")]
    found = [f / name for f in folders if (f / name).exists()]
    if not found:
        sys.exit(f"{name} is not built: run cmake --preset release && cmake --build --preset release")
    return str(max(found, key=lambda f: f.stat().st_mtime))


def scratch():
    """Where a run's folder is made: $TMPDIR, unless the paths of control sockets would become too long (108 bytes)."""
    given = os.environ.get("TMPDIR", "/tmp")
    return given if len(given) <= 40 else "/tmp"


def free_port():
    """Below those that the system gives to clients, and at random: tests that run at the same time do not take each other's."""
    while True:
        port = random.SystemRandom().randrange(20000, 32000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def wait_for(condition, seconds, what):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    log(f"gave up after {seconds} s waiting for {what}")
    return False


class Process:
    def __init__(self, plant, name, argv):
        self.plant, self.name, self.argv = plant, name, argv
        self.popen = None
        self.starts = 0
        self.stopping = False
        self.log_path = plant.dir / "log" / f"{name}.log"

    def start(self):
        self.starts += 1
        self.stopping = False
        with open(self.log_path, "ab") as out:
            out.write(f"--- start {self.starts}\n".encode())
            out.flush()
            self.popen = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                          cwd=self.plant.dir, start_new_session=True, env=self.plant.env)
        return self

    def alive(self):
        return self.popen is not None and self.popen.poll() is None

    def kill(self):
        if self.alive():
            self.popen.send_signal(signal.SIGKILL)
            self.popen.wait()
        self.popen = None

    def begin_stop(self):
        if self.alive() and not self.stopping:
            self.stopping = True  # a second SIGTERM would end it at once
            self.popen.send_signal(signal.SIGTERM)

    def stop(self, seconds=20):
        """SIGTERM and the exit code; None when it had to be killed."""
        if self.popen is None:
            return 0
        code = self.popen.poll()
        if code is None:
            self.begin_stop()
            try:
                code = self.popen.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        self.popen = None
        return code

    def tail(self, lines=25):
        text = self.log_path.read_text(errors="replace").splitlines()
        return "\n".join(text[-lines:])

    def log_text(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""


class Broker(Process):
    def __init__(self, plant, name, receiver, persistence, tls=True, site="test"):
        self.port = free_port()
        self.home = plant.dir / name
        self.db = self.home / "mosquitto.db"
        options = [] if tls else ["--plain"]
        subprocess.run([ROOT / "deploy/mosquitto/make-broker", self.home, str(self.port), plant.pki, name,
                        "--receiver", receiver, "--site", site, *options], check=True)
        if persistence:
            conf = self.home / "mosquitto.conf"
            conf.write_text(conf.read_text().replace("persistence false", "persistence true") +
                            f"persistence_location {self.home}/\nautosave_interval 1\n")
        super().__init__(plant, name, ["mosquitto", "-c", str(self.home / "mosquitto.conf")])

    def wipe(self):
        self.db.unlink(missing_ok=True)

    def listening(self):
        with socket.socket() as s:
            s.settimeout(0.2)
            return s.connect_ex(("127.0.0.1", self.port)) == 0


class Plant:
    """with Plant(devices=4) as plant: plant.start_all() ..."""

    def __init__(self, devices=2, tls=True, broker_persistence=False, device_extra="", gateway_extra="", bridge_extra="",
                 sense="driver: pattern, channels: 2", report="period: 10ms, samples: 8, max_age: 500ms, health: 0s",
                 device_store="8MiB", bridge_flush="0ms", encrypted=False, keep=False, rules=None, site="test",
                 bridge="bridge1"):
        self.keep = keep
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="weir-test-", dir=scratch()))
        if rules is not None:  # of the gateway: the text of a rules file
            (self.dir / "rules.yaml").write_text(rules)
            gateway_extra += f"rules: {{file: {self.dir}/rules.yaml, ring: 2MiB}}\n"
        for name in ("log", "run", "device"):
            (self.dir / name).mkdir()
        self.pki, self.tls = self.dir / "pki", tls
        self.key = self.dir / "store.key"
        self.key.write_bytes(os.urandom(32))
        self.key.chmod(0o600)
        self.encrypted = encrypted
        key = f", key: {self.key}" if encrypted else ""
        self.env = dict(os.environ)
        tool = ROOT / "deploy/pki/weir-pki"
        subprocess.run([tool, "init", self.pki], check=True)
        for name in ("plant-broker", "cloud-broker"):
            subprocess.run([tool, "issue", self.pki, name, "--server"], check=True)
        for name in ("gw1", bridge):
            subprocess.run([tool, "issue", self.pki, name], check=True)
        subprocess.run([tool, "batch", self.pki, "device", "1", str(devices)], check=True)
        self.plant_broker = Broker(self, "plant-broker", "gw1", broker_persistence, tls, site)
        self.cloud_broker = Broker(self, "cloud-broker", bridge, broker_persistence, tls, site)
        self.sink = self.dir / "weir.db"
        self.write(bridge, f"site: {site}\nid: {bridge}\n" + self.link("broker", self.cloud_broker, bridge) +
                   f"store: {{path: {self.dir}/bridge, size: 64MiB, modelled_flush: {bridge_flush}{key}}}\nsink: {{sqlite: {self.sink}}}\n"
                   f"control: {{socket: {self.dir}/run/{bridge}.sock}}\n" + bridge_extra)
        self.write("gw1", f"site: {site}\nid: gw1\n" + self.link("broker", self.plant_broker, "gw1") +
                   self.link("parent", self.cloud_broker, "gw1") + f"  site: {site}\n  id: {bridge}\n" +
                   f"store: {{path: {self.dir}/gateway, size: 64MiB{key}}}\n"
                   f"control: {{socket: {self.dir}/run/gw1.sock}}\n" + gateway_extra)
        self.bridge = Process(self, bridge, [find_bin("weir-bridge"), "--config", str(self.dir / f"{bridge}.yaml")])
        self.gateway = Process(self, "gw1", [find_bin("weir-gateway"), "--config", str(self.dir / "gw1.yaml")])
        self.devices = []
        for n in range(1, devices + 1):
            name = f"device-{n}"
            self.write(name, f"site: {site}\ngateway: gw1\nid: {name}\n" + self.link("broker", self.plant_broker, name) +
                       f"store: {{path: {self.dir}/device/{n}, size: {device_store}{key}}}\nsense: {{{sense}}}\n"
                       f"report: {{{report}}}\nrun: {{drain_wait: 60s}}\ncontrol: {{socket: {self.dir}/run/{name}.sock}}\n" + device_extra)
            self.devices.append(Process(self, name, [find_bin("weir-device"), "--config", str(self.dir / f"{name}.yaml")]))

    def write(self, name, text):
        (self.dir / f"{name}.yaml").write_text(text)

    def link(self, key, broker, name):
        text = f"{key}:\n  host: 127.0.0.1\n  port: {broker.port}\n"
        if not self.tls:
            return text + "  insecure: true\n"
        return text + f"  ca: {self.pki}/ca.crt\n  cert: {self.pki}/{name}.crt\n  key: {self.pki}/{name}.key\n"

    def all(self):
        return [self.plant_broker, self.cloud_broker, self.bridge, self.gateway, *self.devices]

    def start_all(self):
        for process in self.all():
            process.start()
        return self

    def unexpected_deaths(self):
        return [p for p in self.all() if p.popen is not None and p.popen.poll() is not None]

    def weir(self, *words):
        done = subprocess.run([find_bin("weir"), "--run", str(self.dir / "run"), *words], capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    def settled(self):
        return self.weir("ledger", "--settled")[0] == 0

    def finish(self, seconds=60):
        """Devices flush and stop; what is on its way arrives; the daemons stop. Returns a list of complaints."""
        complaints = []
        for device in self.devices:  # all at once: each waits for its acknowledgements
            device.begin_stop()
        for device in self.devices:
            if device.stop(90) != 0:
                complaints.append(f"{device.name} did not end cleanly:\n{device.tail()}")
        if not wait_for(self.settled, seconds, "the ledger to settle"):
            complaints.append("the ledger did not settle:\n" + "".join(self.weir("ledger")[1:]))
        for process in (self.gateway, self.bridge):
            if process.stop() != 0:
                complaints.append(f"{process.name} did not end cleanly:\n{process.tail()}")
        return complaints

    def check(self, *words):
        """The checker over the stores and the sink; its closing line as a dictionary, and what it complained of."""
        argv = [find_bin("weir-check"), "--gateway", str(self.dir / "gateway"), "--bridge", str(self.dir / "bridge"),
                "--sink", str(self.sink), *(["--key", str(self.key)] if self.encrypted else [])]
        for n, device in enumerate(self.devices, 1):
            argv += ["--device", f"{device.name}={self.dir}/device/{n}"]
        done = subprocess.run([*argv, *words], capture_output=True, text=True)
        pairs = dict(p.split("=", 1) for p in (done.stdout.strip().splitlines() or [""])[-1].split() if "=" in p)
        return done.returncode, pairs, done.stderr

    def stores_that_contain(self, text):
        """Store files that hold these bytes in the clear."""
        return [str(f) for f in self.dir.rglob("data.mdb") if text in f.read_bytes()]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.all()):
            process.kill()
        if self.keep:
            log(f"kept {self.dir}")
        else:
            shutil.rmtree(self.dir, ignore_errors=True)
