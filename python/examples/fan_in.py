"""Readings of several sensors, each with a channel of its own, fanned into one.

    python fan_in.py sensor cellar
    python fan_in.py sensor attic
    python fan_in.py collector 2

A sensor hands its readings to whoever takes them, and closes its channel after the
last. The collector takes from all at once, and ends when all have ended.
"""

import sys
import threading

import casm

SENSORS = casm.Query.match_meta("role", "sensor")


def sensor(name: str) -> None:
    with casm.Node("fan-in", meta={"role": "sensor", "name": name}) as node:
        readings = node.channel("readings", capacity=8)
        print(f"sensor {name} is {node.id}", flush=True)
        for number in range(10):
            readings.send(f"{name} {number}".encode())
        readings.close()
        # With its owner a channel is gone: so this one stays.
        threading.Event().wait()


def collector(sensors: int) -> None:
    with casm.Node("fan-in", meta={"role": "collector"}) as node:
        records = node.wait_for(sensors, query=SENSORS).iter(SENSORS)
        branches = [node.open_channel("readings", r.peer).receiving() for r in records]
        try:
            while True:
                which, reading = casm.select(branches)
                print(f"{which}: {(reading or b'').decode()}", flush=True)
        except casm.ClosedError:
            print("all sensors are done", flush=True)


if __name__ == "__main__":
    try:
        match sys.argv[1:]:
            case ["sensor", name]:
                sensor(name)
            case ["collector", number]:
                collector(int(number))
            case _:
                sys.exit("usage: fan_in.py sensor NAME | fan_in.py collector NUMBER")
    except KeyboardInterrupt:
        pass
