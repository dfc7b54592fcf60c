"""Takes the measurements of `make fleet` and prints them as one table. Standard library only.

A real etcd, some real agents of both kinds, and stand-ins for the rest (fleet_agents.py). The real docker-registers have
a stand-in for an engine, without containers, and a services file; the real docker-discovers keep an output up to date
instead of an HAProxy.
"""

import argparse
import bisect
import http.client
import json
import os
import random
import re
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True  # no folder of it beside the scripts
import engine  # noqa: E402
from fleet_agents import TTL, Discover, Loop, Register, encode  # noqa: E402
from register import memory, processor_ticks  # noqa: E402

PER_HOST, PER_SERVICE, IN_A_TRANSACTION = 50, 20, 100
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class Member:
    """One etcd."""

    def __init__(self, folder, number, ports, cluster):
        self.address = ("127.0.0.1", ports[0])
        client, peer = (f"http://127.0.0.1:{port}" for port in ports)
        self.log = open(f"{folder}/etcd{number}.log", "ab")
        self.command = [
            "etcd", "--name", f"m{number}", "--data-dir", f"{folder}/m{number}",
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", cluster,
        ]  # fmt: skip
        self.process = None

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)

    def metrics(self):
        """Requests that were begun, and bytes sent to clients and members."""
        text = fetch(self.address, "GET", "/metrics")[1].decode()
        names = ["grpc_server_started_total", "etcd_network_client_grpc_sent_bytes_total",
                 "etcd_network_peer_sent_bytes_total"]  # fmt: skip
        requests, *sent = (sum(map(float, re.findall(rf"^{name}.* (\S+)$", text, re.M))) for name in names)
        return requests, sum(sent)


def fetch(address, method, path, **body):
    connection = http.client.HTTPConnection(*address, timeout=60)
    connection.request(method, path, json.dumps(body) if body else None)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


class Registry:
    """Calls that are made once, before anything is measured."""

    def __init__(self, address):
        self.connection = http.client.HTTPConnection(*address, timeout=60)

    def call(self, path, **body):
        self.connection.request("POST", path, json.dumps(body))
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            sys.exit(f"error: etcd {path}: {content[:200]!r}")
        return json.loads(content)

    def put_all(self, pairs, lease):
        operations = puts(pairs, lease)
        for start in range(0, len(operations), IN_A_TRANSACTION):
            self.call("/v3/kv/txn", success=operations[start : start + IN_A_TRANSACTION])


def puts(pairs, lease):
    return [{"request_put": {"key": encode(k), "value": encode(v), "lease": lease}} for k, v in pairs]


def entry(host, number, services, generation=0):
    """An endpoint and its meta."""
    service = (host * PER_HOST + number) % services
    name, address = f"host-{host}", f"10.{64 + host // 250}.{host % 250}.1"
    meta = {
        "v": 1, "container": f"service-{service}-{number}", "created": "2026-01-01T00:00:00Z", "host": name,
        "owner": f"ENGINE-{host}@{address}", "image": f"registry.example:5000/team/service-{service}:1.{generation}",
        "port": 1024 + service,
    }  # fmt: skip
    key = f"/backends/service-{service}/{name}-{number}"
    return [(key, f"{address}:{20000 + number + 1000 * (generation % 40)}"), (key + "/meta", json.dumps(meta))]


class RealAgents:
    """Real agents, of hosts of their own."""

    def __init__(self, options, folder, members, services):
        self.processes = {"docker-register": [], "docker-discover": []}
        etcd = ",".join(f"{host}:{port}" for host, port in members)
        self.common = {"ETCD_HOST": etcd, "PATH": os.environ["PATH"], "LOG_LEVEL": "warning"}
        self.common["SIDEKICK_STACK"] = os.environ.get("SIDEKICK_STACK", "")
        self.folder = folder
        for number in range(options.real):
            self.start_register(options.register_program, number, services)
            self.start_discover(options.discover_program, number)

    def start_register(self, program, number, services):
        path, address = f"{self.folder}/engine{number}.sock", f"10.250.{number // 250}.{1 + number % 250}"
        info = {"ID": f"REAL-{number}", "Name": f"real-{number}", "DockerRootDir": f"/var/lib/docker{number}"}
        recorded = {"ping": {"Api-Version": "1.41"}, "version": {"ApiVersion": "1.41", "Version": "20.10"}, "info": info}
        server = engine.Server(path, engine.Answers(recorded, 0))
        threading.Thread(target=server.run, daemon=True).start()
        entries = [
            {"name": f"service-{random.randrange(services)}", "port": 20000 + index, "id": f"real-{number}-{index}"}
            for index in range(PER_HOST)
        ]
        with open(f"{self.folder}/services{number}.json", "w", encoding="utf-8") as file:
            json.dump({"services": entries}, file)
        self.start("docker-register", program, number, {
            "DOCKER_HOST": f"unix://{path}", "HOST_IP": address, "SERVICES_FILE": file.name,
        })  # fmt: skip

    def start_discover(self, program, number):
        state = f"{self.folder}/discover{number}"
        os.mkdir(state)
        with open(f"{state}/outputs.json", "w", encoding="utf-8") as file:
            json.dump({"outputs": [{"file": f"{state}/hosts", "format": "hosts", "services": ["service-0"]}]}, file)
        self.start("docker-discover", program, number, {
            "HAPROXY": "none", "STATE_DIR": state, "OUTPUTS_FILE": file.name,
        })  # fmt: skip

    def start(self, name, program, number, variables):
        variables = {**self.common, **variables, "CONTROL_SOCKET": f"{self.folder}/{name}{number}.sock"}
        with open(f"{self.folder}/{name}{number}.log", "ab") as log:
            process = subprocess.Popen([program], env=variables, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.processes[name].append(process)

    def ticks(self):
        return {name: [processor_ticks(p.pid) for p in processes] for name, processes in self.processes.items()}

    def memory(self, name):
        return max((memory(process.pid)[0] for process in self.processes[name]), default=0)

    def check(self):
        for name, processes in self.processes.items():
            for number, process in enumerate(processes):
                if process.poll() is not None:
                    with open(f"{self.folder}/{name}{number}.log", encoding="utf-8") as log:
                        sys.exit(f"error: {name} has ended:\n{log.read()[-2000:]}")


class Fleet:
    """One fleet of a size, with everything that is measured of it."""

    def __init__(self, options, folder, hosts, members):
        self.options, self.hosts, self.figures, self.changes = options, hosts, {}, []
        self.keys, self.services = 2 * PER_HOST * hosts, max(1, PER_HOST * hosts // PER_SERVICE)
        ports = [(options.port + 2 * n, options.port + 2 * n + 1) for n in range(members)]
        cluster = ",".join(f"m{n}=http://127.0.0.1:{peer}" for n, (_, peer) in enumerate(ports))
        self.members = [Member(folder, n, pair, cluster) for n, pair in enumerate(ports)]
        self.addresses = [member.address for member in self.members]
        self.loop, self.real, self.generation = Loop(), None, 0
        self.folder = folder

    def measure(self):
        try:
            self.begin()
            self.idle()
            self.steady()
            self.deploy()
            self.restart()
            self.real.check()
        finally:
            self.end()
        return self.figures

    # -- begin and end

    def begin(self):
        for member in self.members:
            member.start()
        self.wait_for_etcd()
        registry = Registry(self.addresses[0])
        self.registers, self.discovers = [], []
        for host in range(self.hosts - self.options.real):
            key, pairs = f"/backends-agents/ENGINE-{host}/{host:x}", []
            for number in range(PER_HOST):
                pairs += entry(host, number, self.services)
            self.registers.append(self.agent(registry, Register, key, pairs))
            self.discovers.append(self.agent(registry, Discover, f"/backends-consumers/{host:x}", []))
            self.loop.run(0.001)  # the leases are kept
        revision = int(registry.call("/v3/kv/range", key=encode("/"))["header"]["revision"])
        for register, discover in zip(self.registers, self.discovers):
            register.begin(self.hosts, revision)
            discover.begin(self.hosts, revision, self.keys)
        self.real = RealAgents(self.options, self.folder, self.addresses, self.services)
        watches = [watch for discover in self.discovers for watch in (discover.watch, discover.claims)]
        if not self.loop.run(120, lambda: all(watch.is_open for watch in watches)):
            sys.exit("error: waited 120 s in vain for all watches")
        # The real ones list the registry, and settle.
        self.loop.run(self.options.settle)
        self.real.check()

    def agent(self, registry, kind, key, pairs):
        lease = registry.call("/v3/lease/grant", TTL=TTL)["ID"]
        registry.put_all([*pairs, (key, '{"host":"stand-in"}')], lease)
        return kind(self.loop, self.addresses, lease, key)

    def wait_for_etcd(self):
        def healthy():
            try:
                return all(b'"true"' in fetch(address, "GET", "/health")[1] for address in self.addresses)
            except OSError:
                return False

        while not healthy():
            self.loop.run(0.1)

    def end(self):
        processes = [process for processes in self.real.processes.values() for process in processes] if self.real else []
        for process in processes + [member.process for member in self.members if member.process]:
            process.kill()
            process.wait()
        for connection in list(self.loop.sockets.values()):
            connection.drop()

    # -- what is measured

    def sample(self):
        totals = [sum(values) for values in zip(*(member.metrics() for member in self.members))]
        etcd = sum(processor_ticks(member.process.pid) for member in self.members)
        return time.monotonic(), etcd, *totals, self.real.ticks(), time.process_time(), self.lost_leases()

    def lost_leases(self):
        return sum(agent.lost_leases for agent in self.registers + self.discovers)

    def add(self, phase, figure, value, form="{:.0f}"):
        self.figures[phase, figure] = form.format(value)
        print(f"    {phase}: {figure}: {self.figures[phase, figure]}", flush=True)

    def add_costs(self, phase, before, whole=False):
        after = self.sample()
        seconds = after[0] - before[0]
        processor = (after[1] - before[1]) / CLOCK_TICKS
        if whole:
            self.add(phase, "etcd: processor time in s, all members", processor, "{:.1f}")
        self.add(phase, "etcd: % of a core, all members", 100 * processor / seconds, "{:.1f}")
        self.add(phase, "etcd: requests per second", (after[2] - before[2]) / seconds)
        self.add(phase, "etcd: sent, in kB/s", (after[3] - before[3]) / 1000 / seconds)
        self.add(phase, "etcd: resident MB, largest member", max(memory(m.process.pid)[0] for m in self.members))
        for name, ticks in after[4].items():
            if ticks:
                spent = [(b - a) / CLOCK_TICKS / seconds * 100 for a, b in zip(before[4][name], ticks)]
                self.add(phase, f"{name}: % of a core", statistics.mean(spent), "{:.2f}")
                self.add(phase, f"{name}: resident MB, largest", self.real.memory(name))
        self.add(phase, "stand-ins: % of a core", 100 * (after[5] - before[5]) / seconds)
        self.add(phase, "leases lost", after[6] - before[6])

    def idle(self):
        before = self.sample()
        self.loop.run(self.options.seconds)
        self.add_costs("idle", before)

    def change(self):
        """One docker-register puts one endpoint anew."""
        self.generation += 1
        host = random.randrange(len(self.registers))
        agent, began = self.registers[host], time.monotonic()
        pairs = entry(host, random.randrange(PER_HOST), self.services, self.generation)

        def done(answer):
            self.changes.append((began, int(re.search(rb'"revision":"(\d+)"', answer)[1])))

        def put():
            body = {"success": puts(pairs, agent.lease)}
            agent.call("/v3/kv/txn", body, done, lambda: self.loop.after(0.2, put))

        put()

    def change_for(self, seconds, per_second):
        count = int(seconds * per_second)
        self.changes = []
        for discover in self.discovers:
            discover.watch.seen.clear()
        for number in range(count):
            self.loop.after(number / per_second, self.change)
        self.loop.run(seconds)

        def is_everywhere():
            newest = max((revision for _, revision in self.changes), default=0)
            return len(self.changes) == count and all(d.watch.revision >= newest for d in self.discovers)

        if not self.loop.run(120, is_everywhere):
            newest = max((revision for _, revision in self.changes), default=0)
            behind = sum(discover.watch.revision < newest for discover in self.discovers)
            print(f"    after 120 s {len(self.changes)} of {count} changes are made, {behind} are behind", flush=True)

    def add_delays(self, phase):
        each, last = [], []
        for began, revision in self.changes:
            delays = []
            for discover in self.discovers:
                at = bisect.bisect_left(discover.watch.seen, revision, key=lambda seen: seen[1])
                if at < len(discover.watch.seen):
                    delays.append((discover.watch.seen[at][0] - began) * 1000)
            each += delays
            last.append(max(delays, default=0))
        for name, times in ("a consumer", each), ("the last consumer", last):
            times.sort()
            self.add(phase, f"change to {name}: median ms", statistics.median(times), "{:.1f}")
            self.add(phase, f"change to {name}: 99 % ms", times[int(len(times) * 0.99)], "{:.1f}")

    def steady(self):
        before = self.sample()
        self.change_for(self.options.seconds, self.options.changes)
        phase = f"{self.options.changes} changes per second"
        self.add_costs(phase, before)
        self.add_delays(phase)

    def deploy(self):
        phase, before = f"{self.options.deploy} containers in 10 s", self.sample()
        self.change_for(10, self.options.deploy / 10)
        self.add(phase, "seconds until all consumers have all", time.monotonic() - before[0], "{:.1f}")
        self.add_costs(phase, before, whole=True)
        self.add_delays(phase)

    def restart(self):
        phase, agents = "restart of etcd", self.registers + self.discovers
        counted, lost = self.count(), self.lost_leases()
        for member in self.members:
            member.process.send_signal(signal.SIGKILL)
            member.process.wait()
        self.loop.run(self.options.outage)
        for agent in agents:
            agent.renewed = 0
        for discover in self.discovers:
            discover.watch.opened.clear(), discover.claims.opened.clear(), discover.watch.seen.clear()
        for member in self.members:
            member.start()
        self.wait_for_etcd()
        back = time.monotonic()
        ticks = sum(processor_ticks(member.process.pid) for member in self.members)
        self.changes = []
        self.change()
        watches = [watch for discover in self.discovers for watch in (discover.watch, discover.claims)]
        self.loop.run(60, lambda: all(watch.opened for watch in watches) and all(a.renewed for a in agents)
                      and self.changes and all(d.watch.revision >= self.changes[0][1] for d in self.discovers))  # fmt: skip
        opened = [watch.opened[0] - back for watch in watches if watch.opened]
        self.add(phase, "s until the last agent has renewed its lease", max(a.renewed for a in agents) - back, "{:.1f}")
        self.add(phase, "s until half of the watches are back", statistics.median(opened), "{:.1f}")
        self.add(phase, "s until the last watch is back", max(opened), "{:.1f}")
        self.add(phase, "s from a change to the last consumer", max(
            (d.watch.seen[0][0] for d in self.discovers if d.watch.seen), default=back) - back, "{:.1f}")  # fmt: skip
        now = sum(processor_ticks(member.process.pid) for member in self.members)
        self.add(phase, "etcd: processor time in s until then", (now - ticks) / CLOCK_TICKS, "{:.1f}")
        self.loop.run(max(0, TTL + 5 - (time.monotonic() - back)))
        self.add(phase, "leases lost", self.lost_leases() - lost)
        self.add(phase, "keys lost", counted - self.count())

    def count(self):
        answer = Registry(self.addresses[0]).call(
            "/v3/kv/range", key=encode("/backends"), range_end=encode("/backendt"), count_only=True)
        return int(answer["count"])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, nargs="+", required=True)
    parser.add_argument("--members", type=int, nargs="+", required=True)
    parser.add_argument("--real", type=int, required=True, help="real agents of each kind, of these hosts")
    parser.add_argument("--seconds", type=float, required=True, help="for idle, and for changes")
    parser.add_argument("--settle", type=float, required=True, help="before anything is measured")
    parser.add_argument("--changes", type=int, required=True, help="per second")
    parser.add_argument("--deploy", type=int, required=True, help="containers in 10 s")
    parser.add_argument("--outage", type=float, default=2, help="seconds")
    parser.add_argument("--port", type=int, required=True, help="first of six")
    parser.add_argument("--register-program", required=True)
    parser.add_argument("--discover-program", required=True)
    options = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    wanted = 4 * max(options.hosts) + 200
    if limit < wanted:
        sys.exit(f"error: {max(options.hosts)} hosts need {wanted} open files, and the limit is {limit}; raise it (ulimit -n)")
    columns = {}
    for hosts in options.hosts:
        for members in options.members:
            name = f"{hosts} hosts, {members} etcd"
            print(f"==> {name}", flush=True)
            with tempfile.TemporaryDirectory(dir=os.environ.get("STACK")) as folder:
                columns[name] = Fleet(options, folder, hosts, members).measure()
    print_table(columns)


def print_table(columns):
    rows = list(dict.fromkeys(row for figures in columns.values() for row in figures))
    print("\n| | " + " | ".join(columns) + " |\n|---" * 1 + "|---" * len(columns) + "|")
    phase = None
    for row in rows:
        if row[0] != phase:
            phase = row[0]
            print(f"| **{phase}** |" + " |" * len(columns))
        print(f"| {row[1]} | " + " | ".join(figures.get(row, "") for figures in columns.values()) + " |")


main()
