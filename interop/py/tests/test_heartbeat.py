import json
import os
import pathlib
import unittest

from casm_py.capnp import pack, unpack
from casm_py.heartbeat import Heartbeat

HEARTBEAT = Heartbeat(2500, 0xFEDCBA9876543210, "höst", ["role=worker", "zone=a=b", "empty="])


class HeartbeatTest(unittest.TestCase):
    def test_a_heartbeat_survives_a_trip(self):
        self.assertEqual(Heartbeat.decode(HEARTBEAT.encode()), HEARTBEAT)
        self.assertEqual(Heartbeat.decode(Heartbeat(0, 1, "").encode()).ttl_ms, 10_000)

    def test_packing_is_undone_by_unpacking(self):
        for data in [bytes(8 * 600), bytes(range(1, 81)), bytes(i * (i % 24 > 15) for i in range(160))]:
            self.assertEqual(unpack(pack(data)), data)

    def test_what_is_broken_is_refused_or_read_as_something_else(self):
        data = HEARTBEAT.encode()
        for i in range(len(data)):
            with self.assertRaises(ValueError):
                Heartbeat.decode(data[:i])
            for bit in range(8):
                broken = bytearray(data)
                broken[i] ^= 1 << bit
                try:
                    Heartbeat.decode(bytes(broken))
                except ValueError:
                    pass
        with self.assertRaisesRegex(ValueError, "longer than"):
            Heartbeat.decode(b"\x00\xff" * 250_000)

    @unittest.skipUnless("CASM_GOLDEN" in os.environ, "CASM_GOLDEN is not set: the golden files are not checked")
    def test_golden_heartbeats_are_read(self):
        golden = pathlib.Path(os.environ["CASM_GOLDEN"])
        rows = json.loads((golden / "index.json").read_text())
        rows = [row for row in rows if row["kind"].startswith("heartbeat")]
        self.assertEqual(len(rows), 2)
        for row in rows:
            want = Heartbeat(row["ttl_ms"], int(row["server"], 16), row["host"], row["meta"])
            self.assertEqual(Heartbeat.decode((golden / row["file"]).read_bytes()), want)

    def test_the_vectors_of_the_specification_are_read_and_written(self):
        vectors = pathlib.Path(__file__).parents[3] / "docs/spec/vectors/heartbeat.json"
        file = json.loads(vectors.read_text())
        self.assertTrue(len(file["heartbeats"]) > 5 and len(file["refused"]) > 5)
        for row in file["heartbeats"]:
            want = Heartbeat(row["sent_ttl_ms"] or 10_000, int(row["server"], 16), row["host"], row["meta"])
            data = bytes.fromhex(row["hex"])
            self.assertEqual(Heartbeat.decode(data), want, row["name"])
            if row["go"]:
                # One message can be packed in several ways.
                self.assertEqual(unpack(want.encode()), unpack(data), row["name"])
        for row in file["refused"]:
            if row["extension"]:
                # Like Go's nodes, this one reads past the fields that are new.
                Heartbeat.decode(bytes.fromhex(row["hex"]))
            elif row["verdict"] == "reject":
                with self.assertRaises(ValueError, msg=row["name"]):
                    Heartbeat.decode(bytes.fromhex(row["hex"]))


if __name__ == "__main__":
    unittest.main()
