#!/usr/bin/env python3
"""Leads connections to one of several servers, and tells on stdout whenever that changes.

`proxy.py leader PORT MODE REST=POSTGRES…` follows PostgreSQL's leader, as HAProxy does with Patroni's template: it asks each
node's REST API for `/primary`. What MODE, a file, says decides about the connections that are open when the leader changes: `cut`
ends them (`on-marked-down shutdown-sessions`), `keep` leaves them where they lead, as a ClusterIP of Kubernetes does.

`proxy.py any PORT SERVER…` takes the servers by turns and passes over those that refuse.
"""

import asyncio
import sys
from pathlib import Path

# As HAProxy with `inter 300ms fall 2`.
INTERVAL, PATIENCE, FALL = 0.3, 1.0, 2


class Proxy:
    def __init__(self, servers):
        self.servers, self.turn, self.open = servers, 0, set()

    def candidates(self):
        self.turn += 1
        return [self.servers[(self.turn + i) % len(self.servers)] for i in range(len(self.servers))]

    async def serve(self, client_in, client_out):
        for server in self.candidates():
            try:
                server_in, server_out = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", server), 1)
                break
            except (OSError, asyncio.TimeoutError):
                continue
        else:
            client_out.transport.abort()
            return
        pair = (server, client_out, server_out)
        self.open.add(pair)
        await asyncio.gather(pass_on(client_in, server_out), pass_on(server_in, client_out))
        self.open.discard(pair)


async def pass_on(reader, writer):
    try:
        while content := await reader.read(1 << 16):
            writer.write(content)
            await writer.drain()
    except OSError:
        pass
    writer.transport.abort()


class Leader(Proxy):
    def __init__(self, nodes, mode):
        super().__init__(list(nodes.values()))
        self.nodes, self.mode, self.leader, self.failed = nodes, mode, None, dict.fromkeys(nodes, FALL)

    def candidates(self):
        return [self.nodes[self.leader]] if self.leader else []

    async def follow(self):
        while True:
            answers = await asyncio.gather(*(leads(rest) for rest in self.nodes))
            for rest, does in zip(self.nodes, answers):
                self.failed[rest] = 0 if does else self.failed[rest] + 1
            # One that has just answered goes before one that is only not yet given up.
            leading = sorted((count, rest) for rest, count in self.failed.items() if count < FALL)
            self.switch(leading[0][1] if leading else None)
            await asyncio.sleep(INTERVAL)

    def switch(self, leader):
        if leader == self.leader:
            return
        self.leader = leader
        print(leader and self.nodes[leader], flush=True)
        if Path(self.mode).read_text().strip() == "cut":
            for server, client, _ in list(self.open):
                if leader is None or server != self.nodes[leader]:
                    client.transport.abort()


async def leads(rest):
    try:
        return await asyncio.wait_for(asked(rest), PATIENCE)
    except (OSError, asyncio.TimeoutError):
        return False


async def asked(rest):
    reader, writer = await asyncio.open_connection("127.0.0.1", rest)
    try:
        writer.write(b"GET /primary HTTP/1.0\r\n\r\n")
        return b" 200 " in await reader.readline()
    finally:
        writer.transport.abort()


async def main(how, port, *rest):
    if how == "leader":
        mode, *pairs = rest
        proxy = Leader({int(a): int(b) for a, b in (pair.split("=") for pair in pairs)}, mode)
        following = asyncio.create_task(proxy.follow())
        following.add_done_callback(lambda _: sys.exit("the proxy no longer follows"))
    else:
        proxy = Proxy([int(server) for server in rest])
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", int(port))
    async with server:
        await server.serve_forever()


asyncio.run(main(*sys.argv[1:]))
