"""A stand-in for the hub's API on this machine: what it is sent, it keeps."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Hub:
    """What was asked of the stand-in.

    Attributes:
        address: for HF_ENDPOINT.
        files: path -> content of what was committed.
        commit: the header of the last commit.
        repositories: bodies of the requests that made repositories.
        tokens: the authorizations that came with requests.
        refuse: answer commits with 403.
    """

    def __init__(self, *, refuse: bool = False) -> None:
        self.address = ""
        self.files: dict[str, bytes] = {}
        self.commit: dict[str, Any] = {}
        self.repositories: list[dict[str, Any]] = []
        self.tokens: set[str | None] = set()
        self.refuse = refuse

    def answer(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Status and JSON for a POST."""
        if path == "/api/repos/create":
            asked = json.loads(body)
            self.repositories.append(asked)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            return 200, {"url": f"{self.address}/{name}"}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if path.endswith("/preupload/main"):
            names = [file["path"] for file in json.loads(body)["files"]]
            return 200, {
                "files": [
                    {"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names
                ]
            }
        if path.endswith("/commit/main"):
            if self.refuse:
                return 403, {"error": "You have no right to write here."}
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "header":
                    self.commit = line["value"]
                else:
                    assert line["key"] == "file"
                    file = line["value"]
                    self.files[file["path"]] = base64.b64decode(file["content"])
            repository = path.removeprefix("/api/models/").removesuffix("/commit/main")
            address = f"{self.address}/{repository}/commit/{'0' * 40}"
            return 200, {"success": True, "commitUrl": address, "commitOid": "0" * 40}
        return 404, {"error": f"the stand-in does not know {path}"}


@contextlib.contextmanager
def standing_in(hub: Hub) -> Iterator[Hub]:
    """The stand-in, serving on a free port of this machine inside the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hub.tokens.add(self.headers.get("Authorization"))
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._reply(*hub.answer(self.path.partition("?")[0], body))

        def do_GET(self) -> None:
            self._reply(404, {"error": f"the stand-in does not know {self.path}"})

        def _reply(self, status: int, content: dict[str, Any]) -> None:
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
