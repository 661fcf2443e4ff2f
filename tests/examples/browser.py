"""Drives the debug page in a headless Chromium: browser.py ADDRESS [FOLDER]

Checks that the charts move, that a search finds a group, that a click shows the backtrace of one goroutine, that the
timeline is drawn, and that the console has no errors. With a folder, pictures of the page are left there: light and
dark, wide and narrow. Needs chromium, and nothing that does not come with Python.
"""

import base64
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request


class Connection:
    """A WebSocket, as far as the protocol of Chromium's tools needs one."""

    def __init__(self, url):
        host, path = url.removeprefix("ws://").split("/", 1)
        name, port = host.rsplit(":", 1)
        self.socket = socket.create_connection((name, int(port)), timeout=60)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /{path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.receive(1)
        assert b" 101 " in head.split(b"\r\n")[0], head

    def receive(self, length):
        data = b""
        while len(data) < length:
            piece = self.socket.recv(length - len(data))
            assert piece, "chromium has closed the connection"
            data += piece
        return data

    def send(self, text):
        data, mask = text.encode(), os.urandom(4)
        size = struct.pack(">BH", 0xFE, len(data)) if len(data) < 1 << 16 else struct.pack(">BQ", 0xFF, len(data))
        self.socket.sendall(b"\x81" + size + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data)))

    def message(self):
        text = b""
        while True:
            first, length = self.receive(2)
            if length == 126:
                (length,) = struct.unpack(">H", self.receive(2))
            elif length == 127:
                (length,) = struct.unpack(">Q", self.receive(8))
            data = self.receive(length)
            if first & 0x0F in (0, 1):
                text += data
                if first & 0x80:
                    return json.loads(text)


class Page:
    """The one tab of a browser."""

    def __init__(self, profile):
        self.browser = subprocess.Popen(
            ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--remote-debugging-port=0", "--remote-allow-origins=*", f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port = wait("chromium to start", lambda: os.path.exists(f"{profile}/DevToolsActivePort")
                    and open(f"{profile}/DevToolsActivePort").readline().strip())
        tabs = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json"))
        tab = next(tab for tab in tabs if tab["type"] == "page")
        self.connection = Connection(tab["webSocketDebuggerUrl"])
        self.number, self.errors = 0, []

    def call(self, method, **parameters):
        self.number += 1
        self.connection.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            answer = self.connection.message()
            self.note(answer)
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    def note(self, event):
        what = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(what["exceptionDetails"])
        elif event.get("method") == "Log.entryAdded" and what["entry"]["level"] == "error":
            self.errors.append(what["entry"])
        elif event.get("method") == "Runtime.consoleAPICalled" and what["type"] in ("error", "assert"):
            self.errors.append(what["args"])

    def value(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, what, expression):
        return wait(what, lambda: self.value(expression))

    def look(self, width, height, scheme):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        time.sleep(0.5)

    def picture(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


def wait(what, condition):
    until = time.monotonic() + 60
    while time.monotonic() < until:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"waited in vain for {what}")


LINES = "[...document.querySelectorAll('polyline')].map(line => line.getAttribute('points')).join('|')"
SEARCH = """(() => {
  const search = document.getElementById('search');
  search.value = TEXT;
  search.dispatchEvent(new Event('input', { bubbles: true }));
})()"""


def drive(page, address, folder):
    page.call("Runtime.enable")
    page.call("Log.enable")
    page.call("Page.enable")
    page.look(1060, 1000, "light")
    begun = time.monotonic()
    page.call("Page.navigate", url=f"http://{address}/")
    page.wait("groups", "document.querySelectorAll('.group').length > 0")
    print(f"open after {time.monotonic() - begun:.2f} s")

    page.wait("charts", f"{LINES}.split(' ').length > 20")
    first = page.value(LINES)
    wait("charts to move", lambda: page.value(LINES) != first)

    page.value("document.querySelector('#timeline summary').click()")
    page.wait("the timeline", "turns && turns.begins.length > 0 && !document.getElementById('turns').hidden")
    if folder:
        time.sleep(25)
        page.value("document.querySelector('#record').click()")
        time.sleep(4)
        page.picture(f"{folder}/wide-light.png")

    page.value(SEARCH.replace("TEXT", "'accept'"))
    # On a busy machine a processor may not answer in time, and the next look would be far off.
    page.wait("the search", "look().then(() => shown.groups.length > 0 && shown.groups.every(group => group.reason === 'Accept'))")
    page.value("document.querySelector('.group summary').click()")
    page.wait("the group's frames", "document.querySelectorAll('.group .frames li').length > 0")
    click = "document.querySelector('.group .ids button').click()"
    page.value(click)
    wait("one goroutine's frames", lambda: page.value("document.querySelectorAll('#one .frames li').length > 0")
         or (time.sleep(1), page.value(click))[1])
    text = page.value("document.getElementById('one').innerText")
    assert "waiting for a connection (accept)" in text, text

    if folder:
        page.value(SEARCH.replace("TEXT", "''"))
        page.value("window.scrollTo(0, 0)")
        page.look(1060, 1000, "dark")
        time.sleep(3)
        page.picture(f"{folder}/wide-dark.png")
        for scheme in ("light", "dark"):
            page.look(400, 1800, scheme)
            page.picture(f"{folder}/narrow-{scheme}.png")
            page.value("window.scrollTo(0, document.body.scrollHeight / 2)")
            page.picture(f"{folder}/narrow-{scheme}-below.png")
            page.value("window.scrollTo(0, 0)")
    wide = page.value("document.documentElement.scrollWidth <= window.innerWidth")
    assert wide, "the page is wider than the screen"
    assert not page.errors, page.errors


def main():
    address, folder = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        page = Page(profile)
        try:
            drive(page, address, folder)
        finally:
            page.browser.terminate()
            page.browser.wait()


main()
