"""The examples, each against a world of its own."""

import json
import os
import subprocess
import sys
import unittest
from itertools import islice
from pathlib import Path

from spatialdb.testing import EphemeralWorld

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "workers/python/examples"


def start(world, name, *arguments):
    """An example as a process, for the lines that it prints."""
    env = {**os.environ, "SPATIALDB_ADDRESS": world.address, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)


def stop(process):
    process.terminate()
    process.communicate(timeout=20)


class ExamplesTest(unittest.TestCase):
    def test_the_balloons_of_one_example_are_seen_by_the_other(self):
        with EphemeralWorld(ROOT / "snapshots/earth.snapshot") as world:
            around_london = ["--box", "40", "-10", "60", "10"]
            watch = start(world, "watch_region.py", *around_london, "--has", "earth.Balloon", "--json")
            drift = start(world, "drift_balloons.py", "--balloons", "3")
            try:
                lines = (json.loads(line) for line in watch.stdout)
                entered = islice((line["entity"] for line in lines if line["change"] == "enter"), 3)
                self.assertEqual(len(set(entered)), 3)
            finally:
                stop(drift)
                stop(watch)

    def test_a_world_that_does_not_come_up_says_why(self):
        with self.assertRaisesRegex(RuntimeError, "no-such.snapshot"):
            with EphemeralWorld("no-such.snapshot"):
                self.fail("it came up")


if __name__ == "__main__":
    unittest.main()
