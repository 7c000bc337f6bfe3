"""Images that are named by URL: never from the server's own network unless it was told so."""

from __future__ import annotations

import ipaddress
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from served import png

from segexport.errors import InputError
from segexport.files.download import download
from segexport.serve.public_url import is_public, public_opener

IMAGE = png(np.zeros((3, 4, 3), np.uint8))


class Handler(BaseHTTPRequestHandler):
    asked: list[str]

    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path.startswith("/to?"):
            self.send_response(302)
            self.send_header("Location", self.path[4:])
            self.end_headers()
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(IMAGE)))
            self.end_headers()
            self.wfile.write(IMAGE)

    def log_message(self, *_):
        pass


@pytest.fixture
def web(monkeypatch):
    """A web server on 127.0.0.1; `asked` are the paths that somebody wanted."""
    monkeypatch.setenv("no_proxy", "*")
    found = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.daemon_threads, found.asked = True, []
    found.url = f"http://127.0.0.1:{found.server_port}"
    threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield found
    found.shutdown()
    found.server_close()


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses(address):
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
        *("100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "fe80::1", "fc00::1", "fec0::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1"),
        *("::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a9fe:a9fe::"),
    ],
)
def test_other_addresses(address):
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1", "[::1]", "[::ffff:127.0.0.1]", "0"]
)
def test_this_machine_by_any_name(server, web, host):
    answer = server.post(f"http://{host}:{web.server_port}/a.png")
    assert answer.status_code == 422
    assert "not in the public internet" in answer.json()["errorMsg"] or "cannot be downloaded" in answer.text
    assert web.asked == []


def test_a_redirect_is_looked_at_too(web):
    """127.0.0.1 represents the internet here, and 127.0.0.2 a private network."""

    def allowed(address) -> bool:
        return str(address) == "127.0.0.1"

    def fetch(url: str) -> bytes:
        return download(url, max_bytes=1 << 20, timeout_s=5, open_url=public_opener(allowed))

    assert fetch(f"{web.url}/a.png") == IMAGE
    assert fetch(f"{web.url}/to?/b.png") == IMAGE
    with pytest.raises(InputError, match=r"127\.0\.0\.2: not fetched"):
        fetch(f"{web.url}/to?http://127.0.0.2:{web.server_port}/secret")
    for other in ("ftp://127.0.0.1/secret", "file:///etc/passwd"):
        with pytest.raises(InputError, match="cannot be downloaded"):
            fetch(f"{web.url}/to?{other}")
    assert not [path for path in web.asked if path.startswith("/secret")]


def test_any_url_where_the_server_was_told_so(start, net, web):
    server = start(net, "--urls", "any", "--max-body-mib", "1")
    assert server.post(f"{web.url}/a.png").json()["result"]["size"] == [3, 4]
    assert web.asked == ["/a.png"]


def test_no_url_where_the_server_was_told_so(start, net, web):
    answer = start(net, "--urls", "none").post(f"{web.url}/a.png")
    assert answer.status_code == 422
    assert answer.json()["errorMsg"] == "image: URLs are not fetched here; send the file as Base64"
    assert web.asked == []
