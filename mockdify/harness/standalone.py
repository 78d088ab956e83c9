"""A stand-alone server for bug reports: one file, standard library only, that sends the very bytes again."""

# ruff: noqa: E501 - the lines of the script, which is one text
from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mockdify.harness.failures import Saved

__all__ = ["script"]

_SCRIPT = '''#!/usr/bin/env python3
"""Plays back a reply of a (mock) Dify server that breaks a client. Standard library only.

    python {name}            # listens on 127.0.0.1:5001, any key will do

{rule}: {says}
Seen: {words}
The call:
{calls}
"""
import base64, json, socket, struct, sys, threading, time

REPLIES, OTHERS, FULL = json.loads(r"""
{replies}
""")


def body_of(step):
    return base64.b64decode(step["base64"]) if "base64" in step else step["send"].encode()


def request(conn):
    data = b""
    while b"\\r\\n\\r\\n" not in data:
        piece = conn.recv(65536)
        if not piece:
            return None
        data += piece
    head, _, body = data.partition(b"\\r\\n\\r\\n")
    low = head.decode("latin-1").lower()
    length = next((int(line.split(":")[1]) for line in low.split("\\r\\n") if line.startswith("content-length:")), 0)
    while len(body) < length or ("transfer-encoding: chunked" in low and not body.endswith(b"0\\r\\n\\r\\n")):
        body += conn.recv(65536)
    return head.decode("latin-1").split(" ", 2)[:2]


def play(conn, reply):
    chunked = reply["framing"] == "chunked"
    size = sum(len(body_of(step)) for step in reply["steps"] if "wait" not in step) + reply["extra_length"]
    time.sleep(reply["delay"])
    if reply["status"]:
        head = ["HTTP/1.1 %d %s" % (reply["status"], reply["reason"] or "Status"), *("%s: %s" % tuple(pair) for pair in reply["headers"]), "Connection: close"]
        head += ["Transfer-Encoding: chunked"] if chunked else ["Content-Length: %d" % size] if reply["framing"] == "length" else []
        conn.sendall(("\\r\\n".join(head) + "\\r\\n\\r\\n").encode("latin-1"))
    for step in reply["steps"]:
        if "wait" in step:
            time.sleep(step["wait"])
            continue
        data = body_of(step)
        conn.sendall(b"%x\\r\\n%b\\r\\n" % (len(data), data) if chunked and not step.get("raw") else data)
        time.sleep(0.001)
    while reply["end"] == "pings":
        conn.sendall(b"d\\r\\nevent: ping\\n\\n\\r\\n")
        time.sleep(0.1)
    if reply["end"] == "hang":
        conn.recv(1)
    elif reply["end"] == "complete":
        conn.sendall(b"0\\r\\n\\r\\n" if chunked else b"")
    else:
        time.sleep(0.05)
    if reply["end"] == "reset":
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def find(method, target, asked=[0]):
    path = target.partition("?")[0]
    if method == "POST" and path.endswith(("/chat-messages", "/completion-messages", "/workflows/run")):
        asked[0] += 1
        return REPLIES[min(asked[0], len(REPLIES)) - 1] if REPLIES else None
    return next((other["reply"] for other in OTHERS if (other["method"], other["path"]) == (method, path)), None)


def serve(conn):
    try:
        with conn:
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            what = request(conn)
            reply = what and find(*what)
            if reply:
                play(conn, reply)
            elif what:
                conn.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: 20\\r\\nConnection: close\\r\\n\\r\\n" + b'{{"result":"success"}}')
    except OSError:
        pass


port = int(sys.argv[1]) if len(sys.argv) > 1 else 5001
listening = socket.create_server(("127.0.0.1", port), backlog=0 if FULL else 100)
print("listening on http://127.0.0.1:%d/v1" % listening.getsockname()[1], flush=True)
waiting = [socket.socket() for _ in range(2 if FULL else 0)]
for one in waiting:  # they fill the queue of connections, so that the next is neither taken nor refused
    one.setblocking(False)
    one.connect_ex(listening.getsockname())
while FULL:
    time.sleep(60)
while True:
    threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()
'''


def script(saved: Saved, name: str = "server.py") -> str:
    """The server that plays *saved*, as Python source."""
    calls = "\n".join(f"  {call['call']} {json.dumps(call['args'], ensure_ascii=True)}" for call in saved.data["calls"])
    others = [{"method": method, "path": path, "reply": reply.as_json()} for method, path, reply in saved.others]
    played = [[reply.as_json() for reply in saved.replies], others, saved.data.get("full", False)]
    replies = json.dumps(played, ensure_ascii=True, indent=1).replace('"""', '""\\u0022')
    return _SCRIPT.format(
        name=name,
        rule=saved.rule,
        says=saved.data["says"],
        words=saved.words.encode("ascii", "backslashreplace").decode().replace('"""', "'''").replace("\\", "\\\\"),
        calls=calls.replace("\\", "\\\\"),
        replies=replies,
    )
