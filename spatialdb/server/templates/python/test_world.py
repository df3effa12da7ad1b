"""Launches this world with its worker on a free port, and sees that the sheep walk."""

import json
import subprocess
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent


class WorldTest(unittest.TestCase):
    def setUp(self):
        launch = ["spatialdb", "launch", "--ephemeral", "--listen", "127.0.0.1:0", "--json"]
        self.world = subprocess.Popen(launch, cwd=HERE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.world.communicate)
        self.addCleanup(self.world.terminate)
        # One line, once the world is up; nothing if it does not come up.
        line = self.world.stdout.readline() or self.fail("the world did not come up")
        self.address = json.loads(line)["address"]

    def places(self):
        """Where each sheep is."""
        ask = ["spatialdb", "query", "--has", "Sheep", "--json", "--limit", "0", "--address", self.address]
        answer = subprocess.run(ask, check=True, capture_output=True, text=True).stdout
        sheep = [json.loads(line) for line in answer.splitlines()]
        return {one["entity"]: one["components"]["spatialdb.v1.Position"] for one in sheep}

    def test_the_sheep_walk(self):
        before = self.places()
        self.assertEqual(len(before), 30)
        deadline = time.monotonic() + 30
        while any(self.places()[sheep] == place for sheep, place in before.items()):
            self.assertLess(time.monotonic(), deadline, "some sheep stand still")
            time.sleep(0.1)


if __name__ == "__main__":
    unittest.main()
