"""Restate, server and Python SDK: `python restate_peer.py W2 --in-flight 100 --folder DIR`.

The server is the one of the npm package, with its defaults: its log is synced to disk before a
step is acknowledged. The service runs under hypercorn with the settings that Restate's guide
gives for production, in as many workers as the machine has cores, less one for the server (two
workers on two cores are slower than one). Callers are in a third process and speak HTTP/1.1 to
the server's ingress by aiohttp: the SDK's own client takes more CPU time than the service.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar
from urllib.request import urlopen

import aiohttp
from contest import main
from servers import HOST, free_ports, post, running, until

HERE = Path(__file__).parent
HYPERCORN = """
bind = "{host}:{port}"
workers = {workers}
h2_max_concurrent_streams = 2147483647
keep_alive_max_requests = 2147483647
keep_alive_timeout = 2147483647
"""
ANSWER_SECONDS = 900.0


def server_binary() -> Path:
    """The program in the npm package for this machine."""
    packages = Path(sys.prefix) / "node_modules" / "@restatedev"
    (found,) = packages.glob("restate-server-*/bin/restate-server")
    return found


def server_version() -> str:
    """As npm names it."""
    package = server_binary().parents[1] / "package.json"
    return json.loads(package.read_text())["version"]


class Restate:
    """Server, service and callers."""

    system = "Restate"
    version = f"server {server_version()}, SDK {version('restate-sdk')}"
    sync = "RocksDB log with WAL synced to disk (rocksdb-disable-wal-fsync=false, the default)"
    cannot: ClassVar[dict[str, str]] = {}
    includes = "HTTP call to the ingress and its answer; server and service start in W5 and W6"
    workload = ""
    client: aiohttp.ClientSession

    @asynccontextmanager
    async def up(self, folder: Path, workload: str, _in_flight: int) -> AsyncGenerator[None]:
        """Server, service, and one registered with the other."""
        self.workload = workload
        async with restate_up(folder, "restate_service:app", HERE) as self.client:
            await self.warm_up()
            yield

    async def warm_up(self) -> None:
        """The server answers before its partitions have leaders: wait for one run's end."""
        for run in range(-50, 0):
            await self.execute(run, 1)

    async def execute(self, run: int, calls: int) -> int:
        """An invocation whose idempotency key is the run's number: a second attaches to it."""
        async with self.client.post(
            "/contest/sequence",
            json={"workload": self.workload, "run": run, "calls": calls},
            headers={"idempotency-key": str(run)},
        ) as answer:
            return await answer.json()

    async def recover(self, runs: int, calls: int) -> None:
        """The server goes on by itself; each call attaches to its invocation, or starts it."""
        await asyncio.gather(*(self.execute(run, calls) for run in range(runs)))


@asynccontextmanager
async def restate_up(
    folder: Path, app: str, home: Path
) -> AsyncGenerator[aiohttp.ClientSession]:
    """Server, service, one registered with the other, and a client of the ingress."""
    ingress, admin, node, service = free_ports(folder, 4)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(server(folder, ingress, admin, node))
        await stack.enter_async_context(served(folder, service, app, home))
        await until(lambda: urlopen(f"http://{HOST}:{admin}/health"))
        if not (folder / "registered").exists():
            uri = f"http://{HOST}:{service}"
            await until(lambda: post(f"http://{HOST}:{admin}/deployments", {"uri": uri}))
            (folder / "registered").touch()
        await until(lambda: urlopen(f"http://{HOST}:{ingress}/restate/health"))
        session = aiohttp.ClientSession(
            f"http://{HOST}:{ingress}",
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(ANSWER_SECONDS),
            raise_for_status=True,
        )
        yield await stack.enter_async_context(session)


def server(
    folder: Path, ingress: int, admin: int, node: int
) -> AbstractAsyncContextManager[None]:
    """The server, with its data in that folder."""
    environment = {
        "RESTATE_BASE_DIR": str(folder / "restate-data"),
        "RESTATE_BIND_IP": HOST,
        "RESTATE_ADVERTISED_HOST": HOST,
        "RESTATE_LISTEN_MODE": "tcp",
        "RESTATE_BIND_PORT": str(node),
        "RESTATE_ADMIN__BIND_PORT": str(admin),
        "RESTATE_INGRESS__BIND_PORT": str(ingress),
        "RESTATE_DISABLE_TELEMETRY": "true",
        "RESTATE_LOG_FILTER": "warn",
    }
    return running(
        server_binary(), "--no-logo", log=folder / "server.log", environment=environment
    )


def served(folder: Path, port: int, app: str, home: Path) -> AbstractAsyncContextManager[None]:
    """The service under hypercorn."""
    config = folder / "hypercorn.toml"
    workers = max(1, (os.cpu_count() or 1) - 1)
    config.write_text(HYPERCORN.format(host=HOST, port=port, workers=workers))
    return running(
        *(sys.executable, "-m", "hypercorn", "--config", config, app),
        log=folder / "service.log",
        environment={"PYTHONPATH": str(home)},
    )


if __name__ == "__main__":
    main(Restate())
