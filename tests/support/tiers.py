"""A plant of three tiers on loopback: lines with devices, sites above them, one bridge; each gateway and the bridge with a broker of
its own, all with mutual TLS. A line may have several sites, in order of preference.

  with Tiers({"line1": ["site-a", "site-b"], "line2": ["site-a"]}, devices=2, rules={"line1": TEXT, "site-a": TEXT}) as t: ..."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from chain import ask
from plant import ROOT, Broker, Plant, Process, find_bin, scratch, wait_for


class Tiers(Plant):
    def __init__(self, lines, devices=2, rules=None, failover="2s", sense="driver: pattern, channels: 2",
                 report="period: 10ms, samples: 8, max_age: 500ms, health: 0s", parents=None, keep=False):
        """lines: {line: [its sites, the preferred first]}; parents: {gateway: [its parents]} for all others, preset the bridge."""
        self.keep, self.tls, self.encrypted, self.rules = keep, True, False, rules or {}
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="weir-tiers-", dir=scratch()))
        for name in ("log", "run", "device"):
            (self.dir / name).mkdir()
        self.pki, self.env, self.sink, self.failover = self.dir / "pki", dict(os.environ), self.dir / "weir.db", failover
        self.parents = {**{site: ["bridge1"] for sites in lines.values() for site in sites}, **(parents or {}), **lines}
        self.lines, self.sites = list(lines), [g for g in self.parents if g not in lines]
        tool = ROOT / "deploy/pki/weir-pki"
        subprocess.run([tool, "init", self.pki], check=True)
        self.brokers, self.gateways, self.devices, self.device_line = {}, {}, [], {}
        for gateway in [*self.parents, "bridge1"]:
            subprocess.run([tool, "issue", self.pki, f"broker-{gateway}", "--server"], check=True)
            subprocess.run([tool, "issue", self.pki, gateway], check=True)
            self.brokers[gateway] = Broker(self, f"broker-{gateway}", gateway, True)
        subprocess.run([tool, "batch", self.pki, "device", "1", str(devices * len(lines))], check=True)
        self.write("bridge1", "site: test\nid: bridge1\n" + self.link("broker", self.brokers["bridge1"], "bridge1") +
                   f"store: {{path: {self.dir}/bridge1, size: 64MiB}}\nsink: {{sqlite: {self.sink}}}\n"
                   f"control: {{socket: {self.dir}/run/bridge1.sock}}\n")
        self.bridge = Process(self, "bridge1", [find_bin("weir-bridge"), "--config", str(self.dir / "bridge1.yaml")])
        for gateway, above in self.parents.items():
            self.configure(gateway, above)
            self.gateways[gateway] = Process(self, gateway, [find_bin("weir-gateway"), "--config", str(self.dir / f"{gateway}.yaml")])
        for n in range(1, devices * len(lines) + 1):
            name, line = f"device-{n}", self.lines[(n - 1) // devices]
            self.device_line[name] = line
            self.write(name, f"site: test\ngateway: {line}\nid: {name}\n" + self.link("broker", self.brokers[line], name) +
                       f"store: {{path: {self.dir}/device/{n}, size: 8MiB}}\nsense: {{{sense}}}\nreport: {{{report}}}\n"
                       f"run: {{drain_wait: 60s}}\ncontrol: {{socket: {self.dir}/run/{name}.sock}}\n")
            self.devices.append(Process(self, name, [find_bin("weir-device"), "--config", str(self.dir / f"{name}.yaml")]))

    def configure(self, gateway, above):
        """above: parents in order of preference; in force at the next start."""
        text = f"site: test\nid: {gateway}\n" + self.link("broker", self.brokers[gateway], gateway)
        text += self.link("parent", self.brokers[above[0]], gateway) + f"  id: {above[0]}\n  reconnect: 1s\n"
        text += f"  failover_after: {self.failover}\n  failback_after: {self.failover}\n"
        if above[1:]:
            text += "parents:\n"
        for other in above[1:]:
            link = self.link(other, self.brokers[other], gateway) + "  reconnect: 1s\n"
            text += "".join("  " + line + "\n" for line in link.splitlines())
        text += f"store: {{path: {self.dir}/{gateway}, size: 64MiB}}\ncontrol: {{socket: {self.dir}/run/{gateway}.sock}}\n"
        if gateway in self.rules:
            (self.dir / f"{gateway}.rules.yaml").write_text(self.rules[gateway])
            text += f"rules: {{file: {self.dir}/{gateway}.rules.yaml}}\n"
        self.write(gateway, text)

    def all(self):
        return [*self.brokers.values(), self.bridge, *self.gateways.values(), *self.devices]

    def status(self, gateway):
        return ask(self.dir / "run" / f"{gateway}.sock") or {}

    def parent_in_use(self, gateway):
        return next((p["id"] for p in self.status(gateway).get("parents", []) if p["in_use"]), None)

    def loops(self, gateway):
        return [p["loop"] for p in self.status(gateway).get("parents", []) if p["loop"]]

    def drained(self, gateway):
        """Whether whoever is above has acknowledged all that the gateway has."""
        uplink = (ask(self.dir / "run" / f"{gateway}.sock", "/ledger") or {}).get("uplink", [])
        return bool(uplink) and all(lane["durable"] == lane["acked"] for lane in uplink)

    def finish(self, seconds=60):
        """Devices flush and stop; what is on its way arrives; the daemons stop. Returns a list of complaints."""
        complaints = []
        for device in self.devices:
            device.begin_stop()
        for device in self.devices:
            if device.stop(90) != 0:
                complaints.append(f"{device.name} did not end cleanly:\n{device.tail()}")
        if not wait_for(lambda: self.check("--final")[0] == 0, seconds, "all to be in the sink"):
            complaints.append(f"not all arrived: {self.check('--final')} {json.dumps({g: self.status(g) for g in self.gateways})}")
        for process in [*self.gateways.values(), self.bridge]:
            if process.stop() != 0:
                complaints.append(f"{process.name} did not end cleanly:\n{process.tail()}")
        return complaints

    def check(self, *words):
        """All hops: devices to lines to sites to bridge. Readings are judged once, at the lower hop."""
        argv = [find_bin("weir-check"), "--sink", str(self.sink), "--late"]
        lower, upper = list(argv), list(argv)
        for line in self.lines:
            lower += ["--gateway", str(self.dir / line)]
        for site in self.sites:
            lower += ["--bridge", str(self.dir / site)]
            upper += ["--gateway", str(self.dir / site), "--bridge", str(self.dir / site)]  # a site may stand below a site
        upper += ["--bridge", str(self.dir / "bridge1")]
        for n, device in enumerate(self.devices, 1):
            lower += ["--device", f"{device.name}={self.dir}/device/{n}"]
        done = subprocess.run([*lower, *words], capture_output=True, text=True)
        above = subprocess.run(upper, capture_output=True, text=True)

        def pairs_of(run):
            return dict(p.split("=", 1) for p in (run.stdout.strip().splitlines() or [""])[-1].split() if "=" in p)
        pairs = pairs_of(done)
        pairs["order_broken"] = str(int(pairs.get("order_broken", -1)) + int(pairs_of(above).get("order_broken", 1)))
        bad = done.returncode != 0 or pairs["order_broken"] != "0"
        return (1 if bad else 0), pairs, done.stderr + above.stderr

    def replace(self, gateway):
        """An empty machine in the place of another."""
        self.gateways[gateway].kill()
        shutil.rmtree(self.dir / gateway, ignore_errors=True)
        self.gateways[gateway].start()
