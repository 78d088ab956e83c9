"""The loop of an adapter that is a program: JSON lines in, JSON lines out. Copy it beside yours; it needs nothing."""
# ruff: noqa: BLE001

import json
import sys


class Reported(Exception):
    """What the client reported: `kind` is http, stream, network, timeout or protocol."""

    def __init__(self, kind, message="", status=None, code=None):
        super().__init__(message)
        self.kind, self.status, self.code = kind, status, code
        self.said = {"kind": kind, "status": status, "code": code, "message": message}


def run(*capabilities, **calls):
    """Answer every line. A call gets its arguments and `emit` for deltas, and returns what the protocol names."""
    for line in sys.stdin:
        call = json.loads(line)
        number, name = call.pop("id"), call.pop("call")
        if name == "hello":
            say(number, capabilities=capabilities)
        elif name != "abandon":
            say(number, **answer(calls[name], call, lambda text, number=number: say(number, delta=text)))


def answer(function, call, emit):
    try:
        return {"ok": True, **(function(call, emit) or {})}
    except Reported as error:
        return {"ok": False, "error": error.said}
    except Exception as error:  # whatever the client raises is its answer
        return {"ok": False, "error": said_of(error)}


def said_of(error):
    """An exception's own status and code where it has some, else its kind by its name."""
    said = {"kind": kind_of(error), "message": f"{type(error).__name__}: {error}"}
    response = getattr(error, "response", None)
    status = getattr(error, "status_code", None) or getattr(response, "status_code", None)
    if status:
        body = response if isinstance(response, dict) else {}
        if "json" in getattr(response, "headers", {}).get("content-type", ""):
            body = response.json()
        said |= {"kind": "http", "status": status, "code": body.get("code")}
    return said


def kind_of(error):
    names = " ".join(one.__name__ for one in type(error).__mro__)
    return (
        "timeout"
        if "Timeout" in names
        else "network"
        if isinstance(error, OSError) or "Transport" in names
        else "protocol"
    )


def say(number, **said):
    print(json.dumps({"id": number, **said}), flush=True)
