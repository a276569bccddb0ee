"""A hub of models on this machine: as much of the Hugging Face hub's protocol as pushing and fetching a model asks."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hub:
    """Models by name, each a list of commits (hash, files by path); `asked` has every request.

    Args:
        token: The only token that may write.
    """

    def __init__(self, token: str) -> None:
        self.token, self.models, self.objects, self.asked, self.refuse = token, {}, {}, [], None
        self.lock, self.hold = threading.Lock(), threading.Event()
        self.hold.set()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def _do(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                hub.asked.append((self.command, self.path))
                if "/commit/" in self.path:
                    hub.hold.wait()
                with hub.lock:
                    code, headers, answer = hub.answer(self.command, self.path, body, self.headers)
                self.send_response(code)
                answer = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                size = headers.pop("Content-Length", str(len(answer)))
                for key, value in {"Content-Type": "application/json", **headers, "Content-Length": size}.items():
                    self.send_header(key, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer)

            do_GET = do_POST = do_PUT = do_HEAD = _do

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, method, path, body, headers):
        if self.refuse and re.search(self.refuse[0], path):
            return self.refuse[1], {}, {"error": "refused by the test"}
        path = path.partition("?")[0]
        writes = method in ("POST", "PUT") and not path.endswith("/paths-info")
        if writes and "/lfs/" not in path and headers.get("Authorization") != f"Bearer {self.token}":
            return 401, {}, {"error": "Invalid username or password."}
        if path == "/api/whoami-v2":
            return 200, {}, {"type": "user", "name": "me", "orgs": [], "auth": {}}
        if path == "/api/validate-yaml":
            return 200, {}, {"errors": [], "warnings": []}
        if path == "/api/repos/create":
            told = json.loads(body)
            name = f"{told.get('organization') or 'me'}/{told['name']}"
            if name in self.models:
                return 409, {}, {"error": "You already created this model repo", "url": f"{self.url}/{name}"}
            self.models[name] = {
                "private": bool(told.get("private") or told.get("visibility") == "private"),
                "commits": [("0" * 40, {})],
            }
            return 200, {}, {"url": f"{self.url}/{name}", "name": name, "id": name}
        if m := re.fullmatch(r"/([\w.-]+/[\w.-]+)\.git/info/lfs/objects/batch", path):
            told = json.loads(body)["objects"]
            found = [{**o, "actions": {"upload": {"href": f"{self.url}/lfs/{o['oid']}"}}} for o in told]
            return 200, {}, {"transfer": "basic", "objects": found}
        if (m := re.fullmatch(r"/lfs/(\w+)", path)) and method == "PUT":
            assert hashlib.sha256(body).hexdigest() == m[1]
            self.objects[m[1]] = body
            return 200, {}, {}
        if m := re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)(?:/(\w+)(?:/([\w.-]+))?)?", path):
            return self._model(m[1], m[2] or "revision", m[3] or "main", body)
        if m := re.fullmatch(r"/([\w.-]+/[\w.-]+)/resolve/([\w.-]+)/(.+)", path):
            found = self._commit(m[1], m[2])
            if found is None or m[3] not in found[1]:
                return 404, {"X-Error-Code": "EntryNotFound" if found else "RepoNotFound"}, {}
            data = found[1][m[3]]
            etag = hashlib.sha256(data).hexdigest()
            return 200, {"ETag": f'"{etag}"', "X-Repo-Commit": found[0], "Content-Length": str(len(data))}, data
        return 404, {}, {"error": f"no {method} {path}"}

    def _commit(self, name, revision):
        commits = self.models[name]["commits"] if name in self.models else []
        return next((c for c in reversed(commits) if revision == "main" or c[0].startswith(revision)), None)

    def _model(self, name, what, revision, body):
        if name not in self.models:
            return 404, {"X-Error-Code": "RepoNotFound"}, {"error": "Repository not found"}
        found = self._commit(name, revision)
        if found is None:
            return 404, {"X-Error-Code": "RevisionNotFound"}, {"error": "Revision not found"}
        sha, files = found
        if what == "preupload":
            told = json.loads(body)["files"]
            large = (".safetensors",)
            modes = [
                {
                    "path": f["path"],
                    "uploadMode": "lfs" if f["path"].endswith(large) else "regular",
                    "shouldIgnore": False,
                }
                for f in told
            ]
            return 200, {}, {"files": modes}
        if what == "commit":
            files = dict(files)
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = self.objects[value["oid"]]
            new = hashlib.sha1(
                repr(sorted((k, hashlib.sha1(v).hexdigest()) for k, v in files.items())).encode()
            ).hexdigest()
            self.models[name]["commits"].append((new, files))
            return (
                200,
                {},
                {
                    "success": True,
                    "commitOid": new,
                    "commitUrl": f"{self.url}/{name}/commit/{new}",
                    "commitMessage": "",
                },
            )
        listed = [{"rfilename": k, "size": len(v)} for k, v in files.items()]
        if what == "tree":
            return (
                200,
                {},
                [
                    {"type": "file", "path": k, "size": len(v), "oid": hashlib.sha1(v).hexdigest()}
                    for k, v in files.items()
                ],
            )
        return (
            200,
            {},
            {
                "id": name,
                "modelId": name,
                "sha": sha,
                "siblings": listed,
                "private": False,
                "tags": [],
                "downloads": 0,
                "likes": 0,
            },
        )
