#!/usr/bin/env python3
"""Measures how many position updates a second one Python process writes, and receives. Prints a line of JSON for each.

    bench.py                        both, each against a server of its own
    bench.py write --seconds 10     as fast as the server takes them
    bench.py receive --rate 500000  another process writes at that rate, at most

Each run checks its result: what was written last is what the world, or the replica, holds at the end.
"""
from __future__ import annotations

import argparse, asyncio, json, os, resource, shutil, subprocess, sys, time
from pathlib import Path

import numpy

sys.path.insert(0, str(Path(__file__).resolve().parent))
import spatialdb
from spatialdb import positions, query
from spatialdb.v1.components_pb2 import Position

SERVER = Path(__file__).resolve().parents[2] / "target/release/spatialdb"
SIDE_M = 100_000.0


class Server:
    """A world of its own, empty, on a free port."""

    def __init__(self, binary: str) -> None:
        if shutil.which(binary) is None:
            sys.exit(f"bench.py: {binary} is missing: run `make build`, or name it with --server")
        self._process = subprocess.Popen(
            [binary, "launch", "--empty", "--listen", "127.0.0.1:0", "--log", "warn"], stdout=subprocess.PIPE, text=True)
        words = (self._process.stdout.readline() if self._process.stdout else "").split()
        if words[:1] != ["ready"]:
            sys.exit("bench.py: the server did not come up")
        self.address = words[1]

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)


def place(step: int, count: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Where entity i is at a step: known to writer and reader alike."""
    i = numpy.arange(count)
    return (i * 7.3 + step * 1.5) % SIDE_M, (i * 3.1 + step * 0.5) % SIDE_M


async def make(worker: spatialdb.Worker, count: int) -> list[int]:
    """Entities at step 0, with ids in a row."""
    ids = await worker.reserve_ids(count)
    x, y = place(0, count)
    rows = ([Position(x=x[i], y=y[i])] for i in range(count))
    assert await worker.create(rows, ids=list(ids)) == list(ids)
    return list(ids)


async def write(worker: spatialdb.Worker, ids: list[int], seconds: float, rate: float = 0.0) -> int:
    """Moves all of them, again and again. Gives the number of steps."""
    started, step = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        step += 1
        worker.move(0, ids, *place(step, len(ids)))
        await worker.drain()
        worker.heartbeat()
        if rate:
            await asyncio.sleep(max(0.0, started + step * len(ids) / rate - time.perf_counter()))
    assert await worker.decided() == []
    return step


def holds(worker: spatialdb.Worker, ids: list[int], step: int) -> bool:
    """Whether the replica has everything where it is at that step."""
    places, (x, y) = worker.replica.positions, place(step, len(ids))
    rows = places.rows(ids)
    return all((numpy.asarray(column)[rows] == wanted).all() for column, wanted in ((places.x, x), (places.y, y)))


def report(run: str, rows: int, seconds: float, cpu_s: float, **more: object) -> None:
    line = {"run": run, "updates": rows, "seconds": round(seconds, 3), "updates_per_s": round(rows / seconds),
            "cpu_share": round(cpu_s / seconds, 3), **more, "numpy": positions.numpy is not None,
            "python": sys.version.split()[0]}  # fmt: skip
    print(json.dumps(line), flush=True)


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def measure_write(args: argparse.Namespace, address: str) -> None:
    async with spatialdb.connect(address, "bench") as worker:
        ids = await make(worker, args.entities)
        await write(worker, ids, 0.5)
        started, cpu_started = time.perf_counter(), cpu()
        step = await write(worker, ids, args.seconds)
        seconds, cpu_s = time.perf_counter() - started, cpu() - cpu_started
        view = await worker.subscribe(query.everything(), components=[Position])
        await view.ready()
        assert holds(worker, ids, step), "the world does not hold what was written last"
        report("write", step * len(ids), seconds, cpu_s, entities=len(ids))


async def measure_receive(args: argparse.Namespace, address: str) -> None:
    async with spatialdb.connect(address, "bench") as worker:
        view = await worker.subscribe(query.everything(), components=[Position])
        await view.ready()
        command = [sys.executable, __file__, "feed", "--entities", args.entities, "--seconds", args.seconds + 1.0,
                   "--rate", args.rate]  # fmt: skip
        feed = await asyncio.create_subprocess_exec(
            *map(str, command), env={**os.environ, "SPATIALDB_ADDRESS": address}, stdout=subprocess.PIPE)
        assert feed.stdout is not None
        ids = json.loads(await feed.stdout.readline())["ids"]
        ids = list(range(ids[0], ids[1]))
        done = asyncio.create_task(feed.stdout.readline())
        rows, events = 0, worker.events()
        async for event in events:
            if isinstance(event, spatialdb.Changed):
                break
        started, cpu_started, frame = time.perf_counter(), cpu(), worker.replica.frame
        while (seconds := time.perf_counter() - started) < args.seconds:
            event = await events.__anext__()
            if isinstance(event, spatialdb.Changed):
                rows += len(event.entities)
            assert not isinstance(event, (spatialdb.Overflowed, spatialdb.Disconnected)), event
        cpu_s, frames = cpu() - cpu_started, worker.replica.frame - frame
        said = json.loads(await done)
        assert await feed.wait() == 0
        deadline = time.monotonic() + 10
        while not holds(worker, ids, said["steps"]):
            assert time.monotonic() < deadline, "the replica does not come to hold what was written last"
            await asyncio.sleep(0.01)
        report("receive", rows, seconds, cpu_s, entities=len(ids), frames=frames, written_per_s=said["per_s"])


async def feed(args: argparse.Namespace) -> None:
    """What `receive` starts: writes, and says what it wrote."""
    async with spatialdb.connect("", "bench-feed") as worker:
        ids = await make(worker, args.entities)
        print(json.dumps({"ids": [ids[0], ids[-1] + 1]}), flush=True)
        started = time.perf_counter()
        step = await write(worker, ids, args.seconds, args.rate)
        per_s = round(step * len(ids) / (time.perf_counter() - started))
        print(json.dumps({"steps": step, "per_s": per_s}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", choices=["all", "write", "receive", "feed"], default="all")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--entities", type=int, default=20_000)
    parser.add_argument("--rate", type=float, default=0.0, help="updates a second, for receive; 0: no bound")
    parser.add_argument("--without-numpy", action="store_true", help="the SDK as it is where numpy is not installed")
    parser.add_argument("--server", default=str(SERVER), help="the spatialdb binary")
    args = parser.parse_args()
    if args.without_numpy:
        positions.numpy = None
    if args.run == "feed":
        return asyncio.run(feed(args))
    for name, measure in (("write", measure_write), ("receive", measure_receive)):
        if args.run in ("all", name):
            server = Server(args.server)
            try:
                asyncio.run(measure(args, server.address))
            finally:
                server.stop()
    return None


if __name__ == "__main__":
    main()
