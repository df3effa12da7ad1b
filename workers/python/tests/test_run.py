"""The loop of a worker, around a worker that has no connection."""

import asyncio
import os
import signal
import unittest

from spatialdb.authority import Drained, Gained, LossImminent, Region
from spatialdb.errors import NotConnected
from spatialdb.options import replaced_name
from spatialdb.run import Loop

REGION = Region(id=1, layer="all", space=0, x_min=0, y_min=0, x_max=1, y_max=1, epoch=1)


class Fake:
    """What the loop needs of a worker."""

    def __init__(self):
        self.heard, self.said, self.is_ready, self.regions = asyncio.Queue(), [], True, {1: REGION}

    async def events(self):
        while True:
            event = await self.heard.get()
            yield event
            self.said.append(f"after {type(event).__name__}")

    async def drain(self):
        pass

    def heartbeat(self, load, tick_ms):
        self.said.append("heartbeat")

    async def close(self):
        self.said.append("close")


def run(worker, tick, on_event=None, before_loss=None, before_end=None):
    return asyncio.wait_for(Loop(worker, tick, 0.005, on_event, before_loss, before_end).run(), 10)


class RunTest(unittest.IsolatedAsyncioTestCase):
    async def test_a_drained_worker_lets_go_of_what_it_has_and_closes(self):
        worker, ticks = Fake(), []

        async def tick(worker):
            ticks.append(1)
            if len(ticks) == 3:
                for event in (Gained("all", [7]), LossImminent(REGION, 0), Drained()):
                    worker.heard.put_nowait(event)

        def before_loss(worker, regions):
            worker.said.append([region.id for region in regions])

        await run(worker, tick, lambda worker, event: worker.said.append(event), before_loss)
        said = [one for one in worker.said if one != "heartbeat"]
        self.assertEqual(said, [Gained("all", [7]), "after Gained", [1], "after LossImminent", [1], "close"])
        self.assertIn("heartbeat", worker.said)

    async def test_it_ends_at_a_signal_and_ticks_only_while_it_is_ready(self):
        worker = Fake()
        worker.is_ready = False
        asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGTERM)
        await run(worker, lambda worker: self.fail("not ready"), before_end=lambda worker: worker.said.append("end"))
        self.assertEqual(worker.said, ["heartbeat", "end", "close"])

    async def test_a_tick_that_finds_no_session_is_left_out_and_one_that_fails_ends_the_worker(self):
        worker, ticks = Fake(), []

        def tick(worker):
            ticks.append(1)
            raise NotConnected("gone") if len(ticks) < 3 else ZeroDivisionError("a bug")

        with self.assertRaisesRegex(ZeroDivisionError, "a bug"):
            await run(worker, tick)
        self.assertEqual(len(ticks), 3)

    def test_whose_place_is_taken_stands_on_the_command_line(self):
        self.assertEqual(replaced_name(["--fast", "--replace", "flight-1"]), "flight-1")
        self.assertEqual((replaced_name(["--replace=flight-2"]), replaced_name([])), ("flight-2", ""))
        for wrong in (["--replace"], ["--replace="], ["--replace", "--fast"]):
            with self.assertRaisesRegex(ValueError, "the name of a worker"):
                replaced_name(wrong)

