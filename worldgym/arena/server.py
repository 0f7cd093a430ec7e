"""The page of the arena, on this machine only: `serve(arena, port)`.

The page knows pairs by number and sides by "left" and "right"; names of models never reach it, so nobody can peek.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from worldgym.arena.pairs import Pair, load
from worldgym.arena.votes import QUESTIONS, Votes
from worldgym.errors import InputError
from worldgym.eval.protocols.videos import encode

PAGE = Path(__file__).parent / "page.html"
LONGEST = 10_000  # bytes of a vote
SCALE = 4


@dataclasses.dataclass(frozen=True, eq=False)
class Arena:
    """The pairs to compare, and where votes go.

    Attributes:
        folders: "a", "b" and perhaps "truth" -> folder of clips.
        pairs: in the order of the page.
        votes: where answers go.
    """

    folders: dict[str, Path]
    pairs: list[Pair]
    votes: Votes

    def film(self, number: int, side: str) -> bytes:
        """WebM of one side of a pair: "left", "right" or "truth"."""
        pair = self.pairs[number]
        who = side if side == "truth" else pair.left if side == "left" else {"a": "b", "b": "a"}[pair.left]
        frames = load(self.folders[who], pair.clip).repeat(SCALE, 1).repeat(SCALE, 2)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "clip.webm"
            encode(list(np.ascontiguousarray(frames)), 6.0, path, "webm")
            return path.read_bytes()

    def vote(self, number: int, question: str, side: str) -> None:
        """Write down what was chosen: "left", "tie" or "right"."""
        pair = self.pairs[number]
        other = {"a": "b", "b": "a"}[pair.left]
        self.votes.add(pair.clip, question, {"left": pair.left, "right": other, "tie": "tie"}.get(side, side))

    def about(self) -> dict[str, Any]:
        """What the page is told: counts and questions, no names of models."""
        done = self.votes.read()
        open_pairs = [i for i, pair in enumerate(self.pairs) if any((pair.clip, q) not in done for q in QUESTIONS)]
        return {"pairs": len(self.pairs), "open": open_pairs, "truth": "truth" in self.folders}


def serve(arena: Arena, port: int = 0) -> ThreadingHTTPServer:
    """A server on 127.0.0.1, not yet running; port 0 takes a free one."""
    handler = type("Handler", (_Handler,), {"arena": arena})
    return ThreadingHTTPServer(("127.0.0.1", port), handler)


class _Handler(BaseHTTPRequestHandler):
    arena: Arena

    def _ours(self) -> bool:
        """Is it this page that asks? Another page may send requests here, under another name of this machine or its own."""
        port = self.server.server_address[1]
        known = {f"127.0.0.1:{port}", f"localhost:{port}"}
        origin = self.headers.get("Origin")
        right = self.headers.get("Host") in known and (origin is None or origin.removeprefix("http://") in known)
        if not right:
            self._send(403, "text/plain", b"this page answers itself only")
        return right

    def do_GET(self) -> None:
        """The page, what it may know, or a clip."""
        if not self._ours():
            return
        parts = self.path.strip("/").split("/")
        try:
            if self.path == "/":
                self._send(200, "text/html; charset=utf-8", PAGE.read_bytes())
            elif self.path == "/about":
                self._send(200, "application/json", json.dumps(self.arena.about()).encode())
            elif len(parts) == 3 and parts[0] == "clip" and parts[2] in ("left", "right", "truth"):
                self._send(200, "video/webm", self.arena.film(self._number(parts[1]), parts[2]))
            else:
                self._send(404, "text/plain", b"there is no such page")
        except (InputError, KeyError, OSError) as error:
            self._send(400, "text/plain", str(error).encode())

    def do_POST(self) -> None:
        """A vote: {"pair": 3, "question": "actions", "side": "left"}. Only from the page itself."""
        if not self._ours():
            return
        try:
            length = int(self.headers.get("Content-Length", 0))
            if self.path != "/vote" or self.headers.get_content_type() != "application/json" or not 0 < length < LONGEST:
                raise InputError("a vote is a small JSON object, posted to /vote")
            vote = json.loads(self.rfile.read(length))
            self.arena.vote(self._number(str(vote["pair"])), vote["question"], vote["side"])
            self._send(200, "application/json", json.dumps(self.arena.about()).encode())
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            self._send(400, "text/plain", f"no vote: {str(error)[:300]}".encode())
        except OSError as error:
            self._send(500, "text/plain", f"the vote could not be written: {error.strerror}".encode())

    def _number(self, text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 9 and int(text) < len(self.arena.pairs)):
            raise InputError("there is no such pair")
        return int(text)

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""
