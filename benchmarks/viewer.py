"""Response time of the viewer to a click on a feature map or a method, as measured by a client.

The command runs in a separate process. Each click is a new map: the request, and the values of
both back-projections; or a method for a new class: the request, and the values of its map. They
follow one another over one connection.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from os import environ
from statistics import median
from typing import Any

LAYERS = 4
"""Number of layers that are clicked on, evenly chosen from all with feature maps."""

METHODS = ("saliency", "deconvolution", "guided_backprop", "grad_cam", "guided_grad_cam")
"""The default methods of `explain`."""


def main() -> None:
    options = _options()
    with running(options.model, options.threads) as visitor:
        layers = options.layers or some_layers(visitor)
        times = {layer: clicks(visitor, layer, options.clicks) for layer in layers}
        for method in options.methods:
            times[method] = explanations(visitor, method, options.classes)
    for name, taken in times.items():
        first, *later = taken
        print(f"{name}: {median(later):.1f} ms a click, {first:.1f} ms the first one")
    every = [one for taken in times.values() for one in taken]
    print(
        f"median {median(every):.1f} ms, longest {max(every):.1f} ms of {len(every)} clicks on"
        f" {options.model} with {options.threads} threads"
    )
    slow = [name for name, taken in times.items() if median(taken) > options.limit_ms]
    if slow:
        raise SystemExit(f"a click takes longer than {options.limit_ms:.0f} ms: {', '.join(slow)}")


class Visitor:
    """A client connection to the viewer, with its cookie."""

    def __init__(self, host: str, port: int) -> None:
        self._connection = HTTPConnection(host, port)
        self._headers = {"content-type": "application/json"}
        self.picture = ""

    def close(self) -> None:
        self._connection.close()

    def ask(self, path: str, question: Any = None) -> bytes:
        body = None if question is None else json.dumps(question)
        self._connection.request("POST" if body else "GET", path, body, self._headers)
        response = self._connection.getresponse()
        cookie = response.getheader("set-cookie")
        if cookie:
            self._headers["cookie"] = cookie.partition(";")[0]
        data = response.read()
        if response.status >= 400:
            raise SystemExit(f"{path}: {data.decode()}")
        return data

    def click(self, layer: str, channel: int) -> None:
        """Request both back-projections of a map, and fetch them."""
        question = {"picture": self.picture, "layer": layer, "channel": channel}
        self._receive("/api/projections", question)

    def explain(self, method: str, target: int) -> None:
        """Request the map of a method for a class, and fetch it."""
        question = {"picture": self.picture, "method": method, "target": target}
        self._receive("/api/attributions", question)

    def _receive(self, path: str, question: Any) -> None:
        answer = json.loads(self.ask(path, question))
        if answer["cached"]:
            raise SystemExit("this click was answered from memory; nothing was measured")
        for part in answer["parts"]:
            if part["kind"] != "map":
                continue
            values = self.ask(f"/api/results/{part['id']}.f32")
            count = part["shape"][0] * part["shape"][1] * part["shape"][2]
            if len(values) != 4 * count:
                raise SystemExit(f"{len(values)} bytes came instead of {4 * count}")


def some_layers(visitor: Visitor) -> list[str]:
    """Return some of the modules with feature maps, from the first to the last."""
    answer = json.loads(visitor.ask(f"/api/pictures/{visitor.picture}/layers"))
    names = [one["name"] for one in answer["layers"] if one["has_maps"] and one["module"]]
    return [names[round(k * (len(names) - 1) / (LAYERS - 1))] for k in range(LAYERS)]


def explanations(visitor: Visitor, method: str, count: int) -> list[float]:
    """Explain one class after another; return the milliseconds of each click."""
    times = []
    for target in range(count):
        start = time.perf_counter()
        visitor.explain(method, target)
        times.append(1e3 * (time.perf_counter() - start))
    return times


def clicks(visitor: Visitor, layer: str, count: int) -> list[float]:
    """Click on one map after another; return the milliseconds of each click."""
    question = {"picture": visitor.picture, "layer": layer}
    maps = json.loads(visitor.ask("/api/features", question))["shape"][0]
    times = []
    for channel in range(min(count, maps)):
        start = time.perf_counter()
        visitor.click(layer, channel)
        times.append(1e3 * (time.perf_counter() - start))
    return times


@contextmanager
def running(model: str, threads: int) -> Iterator[Visitor]:
    """Start `torchattr view` and yield a connection to it."""
    line = [sys.executable, "-m", "torchattr", "view", "--no-open", "--port", "0"]
    process = subprocess.Popen(
        [*line, "--model", model, "--device", "cpu"],
        stdout=subprocess.PIPE,
        text=True,
        env={**environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)},
    )
    try:
        said = process.stdout.readline() if process.stdout else ""
        found = re.search(r"http://([\d.]+):(\d+)/", said)
        if not found:
            raise SystemExit(f"the viewer did not start: {said}")
        visitor = Visitor(found[1], int(found[2]))
        with closing(visitor):
            visitor.picture = json.loads(visitor.ask("/api/pictures"))[0]["id"]
            yield visitor
    finally:
        process.terminate()
        process.wait(30)
        if process.stdout:
            process.stdout.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.viewer", description=__doc__)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--layers", nargs="+", help="default: some from the first to the last")
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--classes", type=int, default=8, help="for each method")
    parser.add_argument("--limit-ms", type=float, default=300.0)
    parser.add_argument("--clicks", type=int, default=32, help="on each layer")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
