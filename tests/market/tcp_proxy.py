"""A TCP proxy on loopback that can be slow, stall, and cut: faults below HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Proxy:
    """Passes bytes both ways, as its knobs allow."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.address = ""
        self.latency = 0.0
        """Seconds that every piece is held back, each way."""
        self.cut_replies_after: int | None = None
        """Reset a connection after so many bytes of reply."""
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    def stall(self) -> None:
        """Keep every connection open and pass nothing on."""
        self._flowing.clear()

    def cut(self) -> None:
        """Abort every connection."""
        self._flowing.set()
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        pumps = [
            asyncio.create_task(self._pump(reader, back, False)),
            asyncio.create_task(self._pump(there, writer, True)),
        ]
        self._tasks.update(pumps)
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, back):
            end.transport.abort()
            self._writers.discard(end)
        for pump in pumps:
            pump.cancel()
            self._tasks.discard(pump)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, replies: bool) -> None:
        passed = 0
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                await self._flowing.wait()
                if self.latency:
                    await asyncio.sleep(self.latency)
                passed += len(data)
                if replies and self.cut_replies_after is not None and passed > self.cut_replies_after:
                    return
                writer.write(data)
                await writer.drain()

    async def close(self) -> None:
        self.cut()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def proxied(port: int) -> AsyncIterator[Proxy]:
    """A proxy in front of a port."""
    proxy = Proxy(port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    host, number = server.sockets[0].getsockname()
    proxy.address = f"{host}:{number}"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
