"""What an attacker does with result files of the toy suite: edits, then everything that follows from them computed again."""

import copy
import json
import os
import subprocess

from worldgym.eval import protocols
from worldgym.eval.results import record, scores
from worldgym.eval.results import suite as suites
from worldgym.eval.results.digests import chain
from worldgym.eval.results.record import slug

SUITE = "action-following-doom-rooms-v1"


def read(boards, entry="toy--sloppy", seed=0):
    return json.loads((boards / SUITE / entry / f"{seed}.json").read_text())


def again(found):
    """Scores, counts, hashes and the seal from the rows, with the library's own functions."""
    protocol = protocols.load(suites.load(SUITE))
    rows = found["rows"]
    found["scores"] = scores.of_rows(protocol, {found["seed"]: rows})
    found["clips"] = {"count": len(rows), "failed": len(scores.failed(rows)), "sha256": chain(r["task_sha256"] for r in rows)}
    found["frames_sha256"] = chain(row.get("frames_sha256") for row in rows)
    found["sha256"] = record.seal(found)
    return found


def sealed(found):
    found["sha256"] = record.seal(found)
    return found


def write(boards, found, film=None):
    place = boards / SUITE / slug(found["entry"]["name"])
    place.mkdir(exist_ok=True)
    path = place / f"{found['seed']}.json"
    path.write_text(json.dumps(found))
    if film is not None:
        path.with_suffix(".webm").write_bytes(film)
    return path


def stranger(found, name="mine", **entry):
    """The same file as somebody else's: finished videos in a folder that is not here."""
    found = copy.deepcopy(found)
    found["entry"] = {
        **{"name": name, "kind": "videos", "source": "folder", "origin": "videos", "sampling": {}, "weights_sha256": "7" * 64},
        **entry,
    }
    for place, row in enumerate(found["rows"]):  # its clips are its own
        row["frames_sha256"] = f"{place + 1:064x}"
        for key, value in row["predicted"].items():
            row["predicted"][key] = " ".join(str((int(v) + (place == i)) % 2) for i, v in enumerate(value.split()))
    return again(found)


def git(folder, *arguments):
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    names = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *names, *arguments], cwd=folder, check=True, capture_output=True, env=environment)


def committed(folder):
    """The folder as a repository with everything in it committed."""
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "before")
    return folder
