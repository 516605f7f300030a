"""A web server on this machine that misbehaves as told."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def serving(picture: bytes) -> Iterator[str]:
    """The address of a server of a picture under any name, but for the names below."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            places = {"/away": "/photo.png", "/file": "ftp://127.0.0.1/photo.png", "/loop": "/loop"}
            if self.path in places:
                self.send_response(302)
                self.send_header("Location", places[self.path])
                self.end_headers()
            elif self.path == "/gone.png":
                self.send_error(404)
            else:
                self.send_response(200)
                content = b"<html>sign in first, please</html>" if "html" in self.path else picture
                self.send_header(
                    "Content-Type", "text/html" if "html" in self.path else "image/png"
                )
                self.send_header("Content-Length", str(len(content) + 9 * ("cut" in self.path)))
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
