"""A local HTTP server with the manners of bad ones: it cuts, it is busy, it ignores Range, it sends wrong bytes."""

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer:
    """Serves ``files`` (path -> bytes). ``manners[path]`` is a list of which each request takes the first:

    a status (404), ("busy", seconds), ("cut", bytes sent), "no range", "wrong", "wrong range", "gzip"; default: well.
    ``asked`` lists (path, Range header or "") of all requests.
    """

    def __init__(self):
        self.files, self.manners, self.asked = {}, {}, []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.answer(self)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(
            target=self.http.serve_forever, kwargs={"poll_interval": 0.01}
        )

    def answer(self, request):
        path, asked = request.path.lstrip("/"), request.headers.get("Range", "")
        self.asked.append((path, asked))
        manners = self.manners.get(path) or ["well"]
        manner = manners.pop(0)
        name, value = manner if isinstance(manner, tuple) else (manner, None)
        if isinstance(name, int) or path not in self.files:
            return self.reply(request, name if isinstance(name, int) else 404, b"")
        if name == "busy":
            return self.reply(
                request, 503, b"", {"Retry-After": str(value)} if value else {}
            )
        body = self.files[path]
        if name == "wrong":
            body = bytes(len(body))
        headers, status, start = {}, 200, 0
        if asked and name != "no range":
            start, status = int(asked.removeprefix("bytes=").removesuffix("-")), 206
            if start >= len(body):
                return self.reply(request, 416, b"")
            shown = start + 1 if name == "wrong range" else start
            headers["Content-Range"] = f"bytes {shown}-{len(body) - 1}/{len(body)}"
        if name == "gzip":
            headers["Content-Encoding"] = "gzip"
        self.reply(
            request, status, body[start:], headers, cut=value if name == "cut" else None
        )

    def reply(self, request, status, body, headers=None, cut=None):
        request.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            request.send_header(key, value)
        request.end_headers()
        with contextlib.suppress(ConnectionError):
            request.wfile.write(body if cut is None else body[:cut])
        request.close_connection = True

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()
