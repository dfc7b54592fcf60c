"""Stand-ins for agents, for `make fleet`: thousands of them in one thread. Standard library only.

Each makes exactly the requests of an agent, when an agent makes them, over connections of its own. What they do with the
answers is next to nothing, so that what is measured is etcd. A docker-discover that begins lists the registry once;
the stand-ins do not.
"""

import base64
import heapq
import json
import random
import re
import select
import socket
import time

TTL = 15
REVISION = re.compile(rb'"mod_revision":"(\d+)"')
MEMBER_LIMIT = 5  # seconds for an answer


def encode(text):
    return base64.b64encode(text.encode()).decode()


def below(prefix, start=None):
    end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
    return {"key": encode(start or prefix), "range_end": encode(end)}


class Loop:
    """Sockets and timers."""

    def __init__(self):
        self.poll, self.sockets, self.timers, self.count = select.epoll(), {}, [], 0

    def after(self, seconds, work):
        self.count += 1
        heapq.heappush(self.timers, (time.monotonic() + seconds, self.count, work))

    def add(self, connection, events):
        self.sockets[connection.socket.fileno()] = connection
        self.poll.register(connection.socket, events)

    def remove(self, connection):
        number = connection.socket.fileno()
        if self.sockets.pop(number, None):
            self.poll.unregister(number)
        connection.socket.close()

    def run(self, seconds, until=lambda: False):
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end and not until():
            while self.timers and self.timers[0][0] <= now:
                heapq.heappop(self.timers)[2]()
            wait = min(end, self.timers[0][0] if self.timers else end) - time.monotonic()
            for number, _ in self.poll.poll(max(0, min(wait, 0.2)), 512):
                if connection := self.sockets.get(number):
                    connection.ready()
        return until()


class Connection:
    """One request at a time to one member; `taken` gets the answer's lines of a stream, or a whole body."""

    def __init__(self, loop, address, lost):
        self.loop, self.lost, self.buffer, self.out, self.answer = loop, lost, b"", b"", None
        self.host = f"{address[0]}:{address[1]}"
        self.stream = None
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connected = False
        self.socket.connect_ex(address)
        loop.add(self, select.EPOLLIN | select.EPOLLOUT)

    def send(self, path, body, head=""):
        body = json.dumps(body)
        self.out += f"POST {path} HTTP/1.1\r\nHost: {self.host}\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
        if self.connected:
            self.flush()

    def flush(self):
        try:
            self.out = self.out[self.socket.send(self.out) :] if self.out else b""
        except BlockingIOError:
            pass
        except OSError:
            self.close()

    def ready(self):
        if not self.connected:
            if self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                return self.close()
            self.connected = True
            self.flush()
            self.loop.poll.modify(self.socket, select.EPOLLIN)
        try:
            data = self.socket.recv(1 << 18)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data:
            return self.close()
        if self.stream:
            return self.stream(data)
        self.buffer += data
        return self.take()

    def take(self):
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        if match := re.search(rb"(?i)content-length: (\d+)", head):
            if len(body) < int(match[1]):
                return
        elif not body.endswith(b"0\r\n\r\n"):
            return
        self.buffer = b""
        if taken := self.answer:
            self.answer = None
            taken(int(head.split(b" ", 2)[1]), body)

    def close(self):
        if self.lost:
            lost, self.lost = self.lost, None
            self.loop.remove(self)
            lost()

    def drop(self):
        """Closes it, of one's own accord."""
        if self.lost:
            self.lost = None
            self.loop.remove(self)


class Watch:
    """A watch that goes on after the last revision when its connection is lost."""

    def __init__(self, agent, keys, revision, pause=10):
        self.agent, self.keys, self.revision, self.pause = agent, keys, revision, pause
        self.seen, self.tail, self.backoff, self.connection = [], b"", 0.05, None
        self.opened = []  # when it was confirmed
        self.open()

    def open(self):
        create = {"create_request": {**self.keys, "start_revision": str(self.revision + 1)}}
        self.connection, self.tail, self.is_open = Connection(self.agent.loop, self.agent.member(), self.lost), b"", False
        self.connection.stream = self.read
        self.connection.send("/v3/watch", create, "Grpc-Metadata-hasleader: true\r\n")
        self.agent.loop.after(MEMBER_LIMIT, lambda connection=self.connection: self.is_open or connection.close())

    def read(self, data):
        now = time.monotonic()
        if not self.is_open:
            if b'"error"' in data:
                return self.connection.close()
            if b'"created":true' not in data:
                return None
            self.is_open, connection = True, self.connection
            self.opened.append(now)
            self.agent.loop.after(self.pause, lambda: self.probe(connection))
        elif b'"error":{' in data:
            return self.connection.close()
        lines, newline, self.tail = (self.tail + data).rpartition(b"\n")
        if newline and (at := lines.rfind(b'"mod_revision"')) >= 0 and (found := REVISION.match(lines, at)):
            self.backoff = 0.05
            self.revision = int(found[1])
            self.seen.append((now, self.revision))
        return None

    def lost(self):
        self.agent.leave()
        # The rule of docker-discover: the first try is at once, and those that no member takes spread.
        spread = 0 if self.is_open else self.agent.spread
        wait, self.is_open = max(random.uniform(0, spread), self.backoff * random.uniform(0.5, 1)), False
        self.backoff = min(self.backoff * 2, 0.5)
        self.agent.loop.after(wait, self.open)

    def probe(self, connection):
        """From time to time a read finds out whether the member is alive."""
        if self.is_open and connection is self.connection:
            self.agent.call("/v3/kv/range", {"key": self.keys["key"]})
            self.agent.loop.after(self.pause, lambda: self.probe(connection))


class Agent:
    """What both kinds have: a lease that is kept alive."""

    def __init__(self, loop, members, lease, key):
        self.loop, self.members, self.lease, self.key = loop, members, lease, key
        self.preferred = random.randrange(len(members))
        self.connection, self.queue, self.busy, self.number = None, [], False, 0
        self.renewed, self.lost_leases, self.spread = 0.0, 0, 0
        self.backoff = self.first
        loop.after(random.uniform(0, TTL / 3), self.renew)

    def member(self):
        return self.members[self.preferred]

    def leave(self):
        self.preferred = (self.preferred + 1) % len(self.members)

    def call(self, path, body, done=lambda body: None, failed=lambda: None, first=False):
        self.queue.insert(min(len(self.queue), 1) if first else len(self.queue), (path, body, done, failed))
        if not self.busy:
            self.next()

    def next(self):
        if not self.queue:
            return
        path, body, done, _ = self.queue[0]
        self.busy, self.number = True, self.number + 1
        if not self.connection:
            self.connection = Connection(self.loop, self.member(), self.disconnected)
        connection, number = self.connection, self.number

        def answered(status, answer):
            if status != 200 or b'"error":' in answer[:4096]:
                return connection.close()
            self.queue.pop(0)
            self.busy = False
            done(answer)
            return self.busy or self.next()

        connection.answer = answered
        connection.send(path, body)
        self.loop.after(MEMBER_LIMIT, lambda: self.busy and number == self.number and connection.close())

    def disconnected(self):
        self.connection, self.busy = None, False
        self.leave()
        queue, self.queue = self.queue, []
        for _, _, _, failed in queue:
            failed()

    def renew(self):
        self.call("/v3/lease/keepalive", {"ID": self.lease}, self.kept, self.renew_later, first=True)

    def renew_later(self):
        self.loop.after(self.backoff * random.uniform(0.5, 1), self.renew)
        self.backoff = min(self.backoff * 2, self.longest)

    def kept(self, answer):
        if b'"TTL"' not in answer:
            self.lost_leases += 1
            if self.lost_leases == 1:
                print(f"    a lease is lost, {time.monotonic() - self.renewed:.1f} s after it was renewed last", flush=True)
        self.renewed, self.backoff = time.monotonic(), self.first
        self.loop.after(TTL / 3, self.renew)

    def every(self, seconds, work):
        def again():
            work()
            self.loop.after(seconds() * random.uniform(0.75, 1), again)

        self.loop.after(seconds() * random.random(), again)


class Register(Agent):
    """docker-register, of a fleet in which it does not watch."""

    first, longest = 0.05, 0.3

    def begin(self, fleet, revision):
        self.every(lambda: 60, self.audit)
        self.every(lambda: 60 * (1 + fleet // 100), lambda: self.call("/v3/kv/range", below("/backends-agents/")))
        if fleet <= 100:
            self.watch = Watch(self, below("/backends/"), revision)

    def kept(self, answer):
        super().kept(answer)
        self.call("/v3/kv/range", {**below(self.key.rpartition("/")[0] + "/"), "serializable": True})

    def audit(self):
        self.call("/v3/lease/keepalive", {"ID": self.lease})
        self.call("/v3/kv/range", {**below(self.key.rpartition("/")[0] + "/"), "serializable": True})
        self.call("/v3/lease/timetolive", {"ID": self.lease, "keys": True})
        self.call("/v3/kv/range", below("/backends-drained/"))


class Discover(Agent):
    """docker-discover, which watches."""

    first, longest = 0.1, 5.0

    def begin(self, fleet, revision, keys):
        self.spread = min(10.0, fleet / 100) if fleet > 100 else 0.0
        self.watch = Watch(self, below("/backends/", "/backends-routes/"), revision)
        self.claims = Watch(self, below("/backends-ports/"), revision, 60)
        self.every(lambda: 60, lambda: self.call("/v3/kv/range", {**below("/backends-consumers/"), "count_only": True}))
        self.every(lambda: max(60, min(3600, 50e-6 * keys * fleet)), self.audit)

    def audit(self):
        self.call("/v3/kv/range", {**below("/backends/", "/backends-routes/"), "keys_only": True,
                                   "min_mod_revision": str(self.watch.revision + 1)})
        self.call("/v3/kv/range", {**below("/backends-ports/"), "keys_only": True,
                                   "min_mod_revision": str(self.watch.revision + 1)})

