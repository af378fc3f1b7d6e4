"""Print what restoring costs beside the plain way: python tests/bench/restore.py [--side N] [--photographs N] [NAME…].

For each model: megapixels a second and peak memory of `gir restore` on one PNG file of N × N pixels,
beside a script that loads everything and runs the network once over the whole picture, start-up left
out. Then start-up: a 512 × 512 picture from a process's start to its end, over `import torch` and the
forward pass. For the first two models then a folder of JPEG and one of PNG files of about a megapixel:
the time of `gir restore` from its start to its end over that of the restorer alone, which nothing is
read or written beside. Models are gir and gir-small, and with random weights girnet, srresnet and nafnet at
their usual sizes. On a machine that is not idle, processor seconds (--processor) are the fairer measure.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from operators import picture

from gir_cli.weights import built, config_of, save

ROOT = Path(__file__).resolve().parents[2]
GIR = ("-m", "gir_cli", "restore", "-q")
SMALL = 512  # pixels a side of the pictures of which start-up is the greater part
PLAIN = """
import sys, cv2, torch
from gir_cli.weights import load
model = load(sys.argv[1])
pixels = torch.from_numpy(cv2.imread(sys.argv[2])[:, :, ::-1].copy()).permute(2, 0, 1)[None].float() / 255
cv2.imwrite(sys.argv[3], (model(pixels)[0].permute(1, 2, 0) * 255).round().byte().numpy()[:, :, ::-1])
"""
FORWARDS = """
import os, sys, time
from gir_cli import Restorer, decode
clock, restorer, spent = getattr(time, sys.argv[1]), Restorer(sys.argv[2]), 0
restorer.precision  # the self-check, which gir restore remembers
for file in os.scandir(sys.argv[3]):
    picture = decode(open(file.path, "rb").read()).stored
    begun = clock()
    restorer(picture)
    spent += clock() - begun
print(spent)
"""


class Cost(NamedTuple):
    """What a process took: wall or processor seconds, and bytes of memory at most; and what it printed."""

    seconds: float
    memory: int
    said: bytes


def cost(*command: object, processor: bool) -> Cost:
    """Run python with `command`, and return what it took."""
    arguments = [sys.executable, *map(str, command)]
    # Threads that wait for each other in a loop would count as work, the more the busier the machine.
    surroundings = os.environ | ({"OMP_WAIT_POLICY": "passive"} if processor else {})
    begun = time.perf_counter()
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, cwd=ROOT, env=surroundings) as process:
        said = process.stdout.read() if process.stdout else b""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    wall = time.perf_counter() - begun
    return Cost(usage.ru_utime + usage.ru_stime if processor else wall, usage.ru_maxrss * 1024, said)


def best(*command: object, processor: bool) -> Cost:
    """Return the least that python with `command` took of three times; the first finds cold caches."""
    return min((cost(*command, processor=processor) for _ in range(3)), key=lambda taken: taken.seconds)


def weights(name: str, folder: Path) -> Path:
    """Return a weights file: the shipped one of that name, else one of a new network."""
    shipped = ROOT / "weights" / f"{name}.safetensors"
    if shipped.exists():
        return shipped
    network, path = built(name, {}), folder / f"{name}.safetensors"
    save(path, network.state_dict(), {"name": name, "model": name, "config": config_of(network), "scale": 1})
    return path


def written(path: Path, side: int) -> Path:
    """Write a picture of side × side pixels to `path`."""
    cv2.imwrite(str(path), np.rint(255 * picture(side)).astype(np.uint8))
    return path


def speed(model: Path, folder: Path, side: int, *, processor: bool) -> str:
    """Return megapixels a second and peak memory, ours and plain."""
    large, small, out = written(folder / "large.png", side), written(folder / "small.png", 64), folder / "out.png"
    said = []
    for way in ((*GIR, "-o", out, "-m", model), ("-c", PLAIN, model)):
        # The plain script takes its operands by place: weights, input, output.
        after = [out] if way[0] == "-c" else []
        little, much = (best(*way, name, *after, processor=processor) for name in (small, large))
        said.append(f"{side * side / 1e6 / (much.seconds - little.seconds):6.2f} MP/s {much.memory / 1e6:6.0f} MB")
    return f"gir {said[0]}   plain {said[1]}"


def start_up(model: Path, folder: Path, *, processor: bool) -> str:
    """Return the time of a small picture over that of importing torch and the forward pass."""
    out, command = folder / "out.png", [*GIR, "-m", model, written(folder / "small.png", SMALL)]
    whole = best(*command, "-o", out, "--json", processor=processor)
    torch = best("-c", "import torch", processor=processor).seconds
    forward = json.loads(whole.said.splitlines()[0])["seconds"]
    ratio = whole.seconds / (torch + forward)
    return f"{whole.seconds:.2f} s, {ratio:.2f} times torch's {torch:.2f} s and {forward:.2f} s"


def folder_of(model: Path, folder: Path, form: str, count: int, *, processor: bool) -> str:
    """Return the time of a folder of `count` files of format `form` over that of the restorer alone."""
    photographs = folder / form
    if not photographs.exists():
        photographs.mkdir()
        kinds = [written(folder / f"{number}.{form}", 1024 + 8 * number) for number in range(9)]
        for number in range(count):
            shutil.copy(kinds[number % len(kinds)], photographs / f"{number}.{form}")
    whole = cost(*GIR, "-m", model, photographs, "-o", folder / "restored", processor=processor)
    clock = "process_time" if processor else "perf_counter"
    forwards = float(cost("-c", FORWARDS, clock, model, photographs, processor=processor).said)
    return f"{count} {form} in {whole.seconds:.1f} s, {whole.seconds / forwards:.3f} times the model's {forwards:.1f} s"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--photographs", type=int, default=200)
    parser.add_argument("--processor", action="store_true")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", default=["gir", "gir-small", "girnet", "srresnet", "nafnet"]
    )
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name in asked.names:
            model = weights(name, folder)
            print(f"{name:10} {speed(model, folder, asked.side, processor=asked.processor)}", flush=True)
            print(f"  start-up {start_up(model, folder, processor=asked.processor)}", flush=True)
        for name, form in itertools.product(asked.names[:2] if asked.photographs else (), ("jpg", "png")):
            said = folder_of(weights(name, folder), folder, form, asked.photographs, processor=asked.processor)
            print(f"{name:10} {said}", flush=True)


if __name__ == "__main__":
    main()
