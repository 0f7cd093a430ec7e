"""Somebody's model in a process of its own: prompts in, frames out. Run as a file by `worldgym.eval.running.sandbox`.

Its first lines shut the door behind it (no network where the system allows that, limits on memory, time and what may be
written), before anything else is imported. What it reads on standard input are first frames, actions and noise seeds, never a
truth; what it writes on standard output is one line of JSON and the frames' bytes. The parent trusts neither.
"""

import ctypes
import json
import os
import resource
import sys

NEW_USER, NEW_NETWORK = 0x10000000, 0x40000000  # flags of Linux's unshare


def shut(limits: dict) -> bool:
    """Set the limits; True where the network is gone."""
    for name, value in limits.items():
        kind = getattr(resource, name)
        most = resource.getrlimit(kind)[1]
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(kind, (value, value))
    try:
        return ctypes.CDLL(None, use_errno=True).unshare(NEW_USER | NEW_NETWORK) == 0
    except (OSError, AttributeError):  # not Linux
        return False


def answer(about: dict, arrays: dict):
    """Import the model and let it generate; frames (B, T, H, W, 3) uint8."""
    import inspect

    import numpy as np

    from worldgym.eval.protocols import entries

    found = entries.attribute(about["name"])
    model = found
    if isinstance(found, type) or not hasattr(found, "generate"):
        takes = inspect.signature(found).parameters
        model = found(about["device"]) if "device" in takes else found()
    kind = str(getattr(model, "kind", "model"))
    spec = str(getattr(getattr(model, "spec", None), "name", ""))
    sampling = about["sampling"].get(kind, {})
    if not arrays:
        return {"kind": kind, "spec": spec}, None
    import torch

    with torch.inference_mode():
        frames = model.generate(arrays["prefix"], arrays["actions"], list(map(int, arrays["seeds"])), **sampling)
    frames = frames.cpu().numpy() if hasattr(frames, "cpu") else np.asarray(frames)
    return {"kind": kind, "spec": spec, "shape": list(frames.shape), "dtype": str(frames.dtype)}, frames


def main() -> None:
    """One question, one answer."""
    about = json.loads(sys.stdin.buffer.readline())
    alone = shut(about["limits"])
    sys.path[:] = about["path"]
    reply = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the model prints is no answer
    frames = None
    try:
        import numpy as np

        arrays = {name: np.load(sys.stdin.buffer, allow_pickle=False) for name in about["arrays"]}
        said, frames = answer(about, arrays)
    except Exception as error:  # whatever somebody's model raises is its answer
        said = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:300]}
    reply.write(json.dumps({**said, "alone": alone}).encode() + b"\n")
    if frames is not None:
        import numpy as np

        reply.write(np.ascontiguousarray(frames).tobytes())
    reply.flush()
    os._exit(0)  # threads and exit handlers of the model are not waited for


if __name__ == "__main__":
    main()
