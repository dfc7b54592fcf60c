#!/usr/bin/env python3
"""`make fleet`: what a fleet of agents costs etcd, measured at a real etcd.

Some real docker-registers and docker-discovers (without engine and HAProxy) run beside light stand-ins, which do exactly
the requests of an agent: lease, renewals, audits, and for docker-discover the watch. Everything is on this machine.
"""

import argparse
import asyncio
import base64
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time

TICKS = os.sysconf("SC_CLK_TCK")
TTL = 15
PREFIX = "/backends"


def encode(text):
    return base64.b64encode(text.encode()).decode()


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def cpu(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


class Cluster:
    """etcd: one member or several."""

    def __init__(self, members, folder):
        self.folder, self.ports = folder, free_ports(2 * members)
        self.clients, self.peers = self.ports[:members], self.ports[members:]
        self.processes = [None] * members

    def start(self):
        cluster = ",".join(f"m{n}=http://127.0.0.1:{port}" for n, port in enumerate(self.peers))
        for number, (client, peer) in enumerate(zip(self.clients, self.peers)):
            log = open(f"{self.folder}/etcd-{number}.log", "a", encoding="utf-8")
            self.processes[number] = subprocess.Popen(
                ["etcd", "--name", f"m{number}", "--data-dir", f"{self.folder}/m{number}",
                 "--listen-client-urls", f"http://127.0.0.1:{client}",
                 "--advertise-client-urls", f"http://127.0.0.1:{client}",
                 "--listen-peer-urls", f"http://127.0.0.1:{peer}",
                 "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
                 "--initial-cluster", cluster, "--quota-backend-bytes", str(4 << 30)],
                stdout=log, stderr=log)  # fmt: skip

    def stop(self):
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def cpu(self):
        return sum(cpu(process.pid) for process in self.processes)

    def resident(self):
        return sum(resident(process.pid) for process in self.processes)


class Connection:
    """One kept connection to a member; a lost one is made anew by the caller."""

    def __init__(self, port):
        self.port, self.reader, self.writer = port, None, None

    async def open(self):
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 26)

    def close(self):
        if self.writer is not None:
            self.writer.close()
        self.writer = None

    async def send(self, path, body):
        content = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: e\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        self.writer.write(head.encode() + content)
        await self.writer.drain()

    async def head(self):
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = [line.split(":")[1] for line in head.split("\r\n") if line.startswith("content-length:")]
        return int(head.split()[1]), int(length[0]) if length else None

    async def call(self, path, **body):
        try:
            await self.open()
            await self.send(path, body)
            status, length = await self.head()
            content = await self.chunks() if length is None else await self.reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError) as error:
            self.close()
            raise ConnectionError(str(error)) from error
        if status != 200:
            raise ConnectionError(content[:200])
        return json.loads(content)

    async def chunks(self):
        content = b""
        while size := int(await self.reader.readline(), 16):
            content += (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readexactly(2)
        return content


class Fleet:
    def __init__(self, options, cluster):
        self.options, self.cluster = options, cluster
        self.requests = self.bytes = 0
        self.marks = {}
        self.arrivals = {}
        self.lost_leases = 0
        self.hosts = []

    def port(self):
        return random.choice(self.cluster.clients)

    async def keep(self, connection, work):
        """Does something over and over; after a failure it begins anew within ten seconds, as agents do."""
        while True:
            try:
                await work(connection)
            except ConnectionError:
                connection.close()
                connection.port = self.port()
                await asyncio.sleep(random.uniform(0.1, 1))

    async def call(self, connection, path, **body):
        self.requests += 1
        return await asyncio.wait_for(connection.call(path, **body), 30)

    # -- docker-register

    async def register(self, number):
        connection = Connection(self.port())
        host = {"number": number, "lease": 0, "keys": {}, "connection": connection, "lock": asyncio.Lock()}
        self.hosts.append(host)
        count = self.options.endpoints // self.options.hosts
        for place in range(count):
            self.add(host, place)
        await self.keep(connection, lambda _: self.renew(host))

    def add(self, host, place):
        service = (host["number"] * 7 + place) % self.options.services
        identity = f"{host['number']:06x}{place:06x}"
        meta = {"container": f"c-{place}", "created": "2026-01-01T00:00:00Z", "host": f"host-{host['number']}",
                "image": f"registry.example:5000/team/service-{service}:1.0", "port": 20000 + service,
                "owner": f"ENGINE@10.{host['number'] >> 8 & 255}.{host['number'] & 255}.1"}  # fmt: skip
        key = f"{PREFIX}/service-{service}/{identity}"
        address = f"10.{host['number'] >> 8 & 255}.{host['number'] & 255}.1:{1024 + place}"
        host["keys"][key] = (address, json.dumps(meta))
        return key

    async def put(self, host, keys):
        lease = host["lease"]
        for start in range(0, len(keys), 60):
            operations = []
            for key in keys[start : start + 60]:
                address, meta = host["keys"][key]
                operations += [{"request_put": {"key": encode(key), "value": encode(address), "lease": lease}},
                               {"request_put": {"key": encode(key + "/meta"), "value": encode(meta), "lease": lease}}]  # fmt: skip
            await self.call(host["connection"], "/v3/kv/txn", success=operations)

    async def renew(self, host):
        connection, rounds = host["connection"], random.randrange(12)
        await asyncio.sleep(random.uniform(0, TTL / 3))
        async with host["lock"]:
            if host["lease"]:
                answer = await self.call(connection, "/v3/lease/keepalive", ID=host["lease"])
                if not int(answer["result"].get("TTL", 0)):
                    host["lease"], self.lost_leases = 0, self.lost_leases + 1
            if not host["lease"]:
                host["lease"] = (await self.call(connection, "/v3/lease/grant", TTL=TTL))["ID"]
                agent = f"{PREFIX}-agents/E{host['number']}/1"
                await self.call(connection, "/v3/kv/put", key=encode(agent), value=encode("{}"), lease=host["lease"])
                await self.put(host, list(host["keys"]))
        while True:
            await asyncio.sleep(TTL / 3)
            rounds += 1
            async with host["lock"]:
                answer = await self.call(connection, "/v3/lease/keepalive", ID=host["lease"])
                if not int(answer["result"].get("TTL", 0)):
                    return
                folder = f"{PREFIX}-agents/E{host['number']}/"
                await self.call(connection, "/v3/kv/range", key=encode(folder), range_end=encode(folder[:-1] + "0"))
                if rounds % 12 == 0:
                    await self.call(connection, "/v3/lease/timetolive", ID=host["lease"], keys=True)

    # -- docker-discover

    async def discover(self, number):
        await asyncio.gather(self.presence(number), self.watch(number), self.audits())

    async def presence(self, number):
        state = {"lease": 0}

        async def work(connection):
            await asyncio.sleep(random.uniform(0, TTL / 3))
            while True:
                if state["lease"]:
                    answer = await self.call(connection, "/v3/lease/keepalive", ID=state["lease"])
                    state["lease"] = state["lease"] if int(answer["result"].get("TTL", 0)) else 0
                if not state["lease"]:
                    state["lease"] = (await self.call(connection, "/v3/lease/grant", TTL=TTL))["ID"]
                    key = encode(f"{PREFIX}-consumers/{number}")
                    await self.call(connection, "/v3/kv/put", key=key, value=encode("{}"), lease=state["lease"])
                await asyncio.sleep(TTL / 3)

        await self.keep(Connection(self.port()), work)

    async def watch(self, number):
        async def work(connection):
            await connection.open()
            self.requests += 1
            key = {"key": encode(f"{PREFIX}-routes/"), "range_end": encode(f"{PREFIX}0")}
            await connection.send("/v3/watch", {"create_request": key})
            await asyncio.wait_for(connection.head(), 10)
            while True:
                size = await connection.reader.readline()
                if not size.strip():
                    raise ConnectionError("the watch ended")
                part = await connection.reader.readexactly(int(size, 16) + 2)
                self.bytes += len(part)
                for mark in [mark for mark in self.marks if mark in part]:
                    self.arrivals[mark].append(time.monotonic() - self.marks[mark])

        async def guarded(connection):
            try:
                await work(connection)
            except (OSError, ValueError, asyncio.TimeoutError, asyncio.IncompleteReadError) as error:
                raise ConnectionError(str(error)) from error

        await self.keep(Connection(self.port()), guarded)

    async def audits(self):
        keys = 2 * self.options.endpoints
        pause = max(60, min(3600, 50e-6 * keys * self.options.hosts))

        async def work(connection):
            await asyncio.sleep(random.uniform(0, pause))
            while True:
                consumers = f"{PREFIX}-consumers/"
                await self.call(connection, "/v3/kv/range", key=encode(consumers), range_end=encode(consumers[:-1] + "0"), count_only=True)
                await self.call(
                    connection, "/v3/kv/range", key=encode(f"{PREFIX}-routes/"), range_end=encode(f"{PREFIX}0"),
                    keys_only=True, min_mod_revision=1 << 60)  # fmt: skip
                await asyncio.sleep(pause * random.uniform(0.75, 1))

        await self.keep(Connection(self.port()), work)

    # -- what happens

    async def change(self, count):
        """Containers come, each on a host of its own."""
        for host in random.sample(self.hosts, min(count, len(self.hosts))):
            async with host["lock"]:
                key = self.add(host, 100_000 + random.randrange(1 << 20))
                mark = encode(host["keys"][key][0]).encode()
                self.marks[mark], self.arrivals[mark] = time.monotonic(), []
                try:
                    await self.put(host, [key])
                except ConnectionError:
                    host["connection"].close()

    async def steady(self, seconds, per_second):
        end = time.monotonic() + seconds
        pause = 1 / per_second
        due = time.monotonic()
        tasks = []
        while time.monotonic() < end:
            due += pause
            tasks.append(asyncio.create_task(self.change(1)))
            await asyncio.sleep(max(0, due - time.monotonic()))
        await asyncio.gather(*tasks)
        await asyncio.sleep(3)

    def delays(self):
        """When the last consumer knew of each change: median and 99th percentile, in ms; and how many were complete."""
        whole = [max(times) for times in self.arrivals.values() if len(times) == self.watching]
        count = len(self.arrivals)
        self.marks.clear()
        self.arrivals = {}
        if len(whole) < 2:
            return "-", "-", f"{len(whole)}/{count}"
        whole.sort()
        return f"{1000 * statistics.median(whole):.0f}", f"{1000 * whole[int(len(whole) * 0.99)]:.0f}", f"{len(whole)}/{count}"


class RealAgents:
    """The programs themselves."""

    def __init__(self, options, cluster, folder):
        hosts = ",".join(f"127.0.0.1:{port}" for port in cluster.clients)
        self.processes = {"docker-register": [], "docker-discover": []}
        for number in range(options.real):
            place = f"{folder}/real-{number}"
            os.makedirs(place)
            services = [{"name": f"service-{n}", "port": 20000 + n, "id": f"real-{number}"} for n in range(5)]
            with open(f"{place}/services.json", "w", encoding="utf-8") as file:
                json.dump({"services": services}, file)
            with open(f"{place}/outputs.json", "w", encoding="utf-8") as file:
                json.dump({"outputs": [{"file": f"{place}/catalog.env", "format": "env", "services": ["service-1"]}]}, file)
            common = {"ETCD_HOST": hosts, "LOG_LEVEL": "warning", "PATH": os.environ["PATH"]}
            for name, extra in [
                ("docker-register", {"HOST_IP": f"10.200.{number >> 8}.{number & 255}", "DOCKER_HOST": "none",
                                     "SERVICES_FILE": f"{place}/services.json", "CONTROL_SOCKET": f"{place}/c.sock"}),
                ("docker-discover", {"HAPROXY": "none", "OUTPUTS_FILE": f"{place}/outputs.json", "STATE_DIR": f"{place}/state"}),
            ]:  # fmt: skip
                log = open(f"{place}/{name}.log", "w", encoding="utf-8")
                program = f"{options.programs}/{name}"
                self.processes[name].append(subprocess.Popen([program], env=common | extra, stdout=log, stderr=log))

    def end(self):
        everybody = sum(self.processes.values(), [])
        for process in everybody:
            process.send_signal(signal.SIGKILL)
        for process in everybody:
            process.wait()

    def cpu(self, name):
        return sum(cpu(process.pid) for process in self.processes[name]) / max(1, len(self.processes[name]))

    def resident(self, name):
        return sum(resident(process.pid) for process in self.processes[name]) / max(1, len(self.processes[name]))


async def measure(fleet, cluster, real, name, work, restarts=False):
    begin, before = time.monotonic(), (0 if restarts else cluster.cpu())
    agents = {kind: real.cpu(kind) for kind in real.processes}
    fleet.requests = fleet.bytes = 0
    await work()
    seconds = time.monotonic() - begin
    median, late, complete = fleet.delays()
    share = 100 * (cluster.cpu() - before) / seconds
    shares = [100 * (real.cpu(kind) - agents[kind]) / seconds for kind in real.processes]
    return [
        name, f"{share:.1f} %", f"{cluster.resident():.0f} MB", f"{fleet.requests / seconds:.0f}",
        f"{fleet.bytes / seconds / 1e6:.2f} MB/s", f"{shares[0]:.2f} %", f"{shares[1]:.2f} %",
        f"{real.resident('docker-register'):.0f} / {real.resident('docker-discover'):.0f} MB", median, late, complete,
    ]  # fmt: skip


async def run(options, cluster, folder):
    fleet = Fleet(options, cluster)
    tasks = []
    print(f"    {options.hosts} hosts with {options.endpoints} endpoints register", flush=True)
    begin = time.monotonic()
    for number in range(options.hosts):
        tasks.append(asyncio.create_task(fleet.register(number)))
    while sum(bool(host["lease"]) for host in fleet.hosts) < options.hosts or any(
        host["lock"].locked() for host in fleet.hosts
    ):
        await asyncio.sleep(1)
    print(f"    in {time.monotonic() - begin:.0f} s; {options.hosts} client hosts follow", flush=True)
    for number in range(options.hosts):
        tasks.append(asyncio.create_task(fleet.discover(number)))
        if number % 50 == 49:
            await asyncio.sleep(0.2)
    fleet.watching = options.hosts
    real = RealAgents(options, cluster, folder)
    rows = []
    try:
        await asyncio.sleep(options.settle)
        rows.append(await measure(fleet, cluster, real, "idle", lambda: asyncio.sleep(options.seconds)))
        print("    idle is measured", flush=True)
        rows.append(
            await measure(fleet, cluster, real, "10 changes a second", lambda: fleet.steady(options.seconds, 10)))
        print("    10 changes a second are measured", flush=True)
        rows.append(
            await measure(fleet, cluster, real, "1000 containers in 10 s", lambda: fleet.steady(10, 100)))
        print("    a deploy is measured", flush=True)

        async def restart():
            cluster.stop()
            cluster.start()
            before = fleet.lost_leases
            await asyncio.sleep(20)
            await fleet.change(50)
            await asyncio.sleep(5)
            print(f"    {fleet.lost_leases - before} leases were lost in the restart of etcd", flush=True)

        rows.append(await measure(fleet, cluster, real, "restart of etcd, 25 s", restart, restarts=True))
    finally:
        real.end()
        for task in tasks:
            task.cancel()
    head = ["", "etcd CPU", "etcd memory", "requests/s", "watches", "register CPU", "discover CPU",
            "register / discover memory", "last consumer: median ms", "99th", "complete"]  # fmt: skip
    rows.insert(0, head)
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    print()
    for row in rows:
        print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths)).rstrip())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--programs", required=True)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--endpoints", type=int, default=50_000)
    parser.add_argument("--services", type=int, default=2500)
    parser.add_argument("--members", type=int, default=1)
    parser.add_argument("--real", type=int, default=20)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--settle", type=int, default=20)
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="sidekick-fleet-")
    cluster = Cluster(options.members, folder)
    try:
        cluster.start()
        time.sleep(3)
        asyncio.run(run(options, cluster, folder))
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
