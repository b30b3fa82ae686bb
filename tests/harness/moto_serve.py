"""Serves moto on a free loopback port, one account for each test.

A test owns one or more access keys of the form `AKIAEG<12-digit account><anything>`; the digits choose the moto
account, so tests that share this server share nothing else. Everything that a test steers or reads about its own
account lies in `<control>/<account>/`:

* `offset`       seconds, signed: how far the provider's clock is ahead for that account. It shows in the `Date` of
                 every answer, and signatures of another time are refused as AWS refuses them;
* `faults.json`  what to do instead of answering properly (see `Faults`);
* `calls.log`    one JSON object for each call that arrived.

The first line on stdout is the port. The process ends when its standard input closes, so that an aborted test run
leaves nothing behind; it takes the control directory along.
"""

import calendar
import io
import json
import os
import re
import shutil
import sys
import threading
import time
from email.utils import formatdate
from urllib.parse import parse_qsl

os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")

from moto.moto_server.werkzeug_app import (  # noqa: E402
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server  # noqa: E402

CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/")
TEST_KEY = re.compile(r"AKIAEG(\d{12})")
BY_HAND = "BYHAND"
SIGNATURE_LASTS = 300  # seconds, before and after (IAM User Guide, "Signature Version 4")
HELD_FOR = 120.0  # seconds; for tests that fail before they let go
ASSUMED_KEY = re.compile(rb"<AccessKeyId>([^<]+)</AccessKeyId>")
# Services that speak REST name their actions by method and path.
SCHEDULES = {"GET": "GetSchedule", "POST": "CreateSchedule", "PUT": "UpdateSchedule", "DELETE": "DeleteSchedule"}
SCHEDULE_GROUPS = {"GET": "GetScheduleGroup", "POST": "CreateScheduleGroup"}


def rest_action(environ, body):
    """The action and the fields of a REST call, as far as the tests use any, or of one that names its action in a header."""
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        return target.rpartition(".")[2], {"Body": body.decode("utf-8", "replace")}
    match = re.fullmatch(r"/(schedules|schedule-groups)/([^/]+)", environ["PATH_INFO"])
    if not match:
        return "", {}
    kind, name = match.groups()
    actions = SCHEDULES if kind == "schedules" else SCHEDULE_GROUPS
    fields = {"Name": name, "Query": environ.get("QUERY_STRING", ""), "Body": body.decode("utf-8", "replace")}
    return actions.get(environ["REQUEST_METHOD"], ""), fields


def other_time(environ, action, now):
    """How AWS refuses a signature whose time is not its own: `now` is the provider's. None: the time is right."""
    try:
        signed = calendar.timegm(time.strptime(environ.get("HTTP_X_AMZ_DATE", ""), "%Y%m%dT%H%M%SZ"))
    except ValueError:
        return None
    if abs(now - signed) <= SIGNATURE_LASTS:
        return None
    if action in {*SCHEDULES.values(), *SCHEDULE_GROUPS.values()}:
        code, status = "InvalidSignatureException", 403
    elif action in ("AssumeRole", "GetCallerIdentity") or "Role" in action:
        code, status = "SignatureDoesNotMatch", 403
    elif signed < now:
        return {"code": "RequestExpired", "message": "Request has expired.", "status": 400}
    else:
        message = "AWS was not able to validate the provided access credentials"
        return {"code": "AuthFailure", "message": message, "status": 401}
    words = "Signature expired" if signed < now else "Signature not yet current"
    return {"code": code, "message": f"{words}: {environ['HTTP_X_AMZ_DATE']}", "status": status}


def read(path, default):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return default


class Faults:
    """Faults of one account, from `faults.json`: a list of objects.

    `id` (unique), `action`, `skip` (matching calls to let through first), `times`, `dryRun` (true or false: only
    such calls; null: both), `contains` (a text that one of the call's fields must hold, or null), `mode`:
    `refuse` (answer `code`, `message`, `status`; nothing is done), `lose-request` (close the connection; nothing
    is done), `lose-answer` (do it, then close the connection), `delay` (wait `seconds`, then do it), `hold` (wait
    until the fault is taken out of the list, then do it). With `held`, a connection is closed only then, too.
    """

    def __init__(self):
        self.seen = {}

    def listed(self, home):
        return json.loads(read(os.path.join(home, "faults.json"), "[]") or "[]")

    def hold(self, home, fault):
        begin = time.monotonic()
        while time.monotonic() - begin < HELD_FOR and any(known["id"] == fault["id"] for known in self.listed(home)):
            time.sleep(0.005)

    def match(self, home, action, fields):
        for fault in self.listed(home):
            dry = fields.get("DryRun", "false") == "true"
            if fault["action"] != action or fault.get("dryRun") not in (None, dry):
                continue
            text = fault.get("contains")
            if text is not None and not any(text in value for value in fields.values()):
                continue
            key = (home, fault["id"])
            count = self.seen.get(key, 0)
            self.seen[key] = count + 1
            if fault["skip"] <= count < fault["skip"] + fault["times"]:
                return fault
        return None


class Provider:
    """The moto application with a clock, a call log and faults in front of it."""

    def __init__(self, control):
        self.control = control
        self.inner = DomainDispatcherApplication(create_backend_app)
        self.lock = threading.Lock()  # moto is not made for concurrent writes; this also orders the log
        self.faults = Faults()
        self.assumed = {}  # temporary access key -> (account of the caller, account of the role)

    def account(self, environ):
        key = CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
        key = key.group(1) if key else ""
        own = TEST_KEY.match(key)
        if own:
            return key, own.group(1), own.group(1)
        return (key, *self.assumed.get(key, ("unknown", None)))

    def __call__(self, environ, start_response):
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length)
        environ["wsgi.input"] = io.BytesIO(body)
        fields = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        action = fields.get("Action", "")
        if not action:
            action, fields = rest_action(environ, body)
        key, owner, account = self.account(environ)
        if account is not None:
            environ["HTTP_X_MOTO_ACCOUNT_ID"] = account
        home = os.path.join(self.control, owner)
        os.makedirs(home, exist_ok=True)

        by_hand = key.endswith(BY_HAND)  # faults are for `eg`, not for what a test does itself
        refused = other_time(environ, action, time.time() + self.offset(home))
        with self.lock:
            fault = None if by_hand or refused else self.faults.match(home, action, fields)
        mode = fault["mode"] if fault else None
        if mode == "delay":
            self.note(home, action)
            time.sleep(fault["seconds"])
        elif mode == "hold" or mode == "lose-request" and fault["held"]:
            self.note(home, action)
            self.faults.hold(home, fault)

        with self.lock:
            if refused or mode == "refuse":
                status, headers, answer = refusal(refused or fault, action)
            elif mode == "lose-request":
                status, headers, answer = "lost request", [], b""
            else:
                status, headers, answer = self.serve(environ)
            if action == "AssumeRole" and status.startswith("200"):
                role = fields.get("RoleArn", "").split(":")
                temporary = ASSUMED_KEY.search(answer)
                if temporary and len(role) > 4:
                    self.assumed[temporary.group(1).decode()] = (owner, role[4])
            # The answer is dated before it is logged: a test that has seen a call in the log may move the clock, and the
            # answer to that call is one of before.
            moment = time.time() + self.offset(home)
            self.log(home, key, action, fields, status, mode, answer, moment)

        if mode == "lose-answer" and fault["held"]:
            self.note(home, action)
            self.faults.hold(home, fault)
        if mode in ("lose-request", "lose-answer"):
            raise ConnectionResetError(f"a test asked to {mode}")
        headers = [(name, value) for name, value in headers if name.lower() != "date"]
        headers.append(("Date", formatdate(moment, usegmt=True)))
        start_response(status, headers)
        return [answer]

    def offset(self, home):
        return int(read(os.path.join(home, "offset"), "0") or 0)

    def note(self, home, action):
        with self.lock, open(os.path.join(home, "waiting.log"), "a") as waiting:
            waiting.write(action + "\n")

    def serve(self, environ):
        taken = {}

        def start_response(status, headers, exc_info=None):
            taken.update(status=status, headers=headers)
            return lambda data: None

        answer = b"".join(self.inner(environ, start_response))
        return taken["status"], taken["headers"], answer

    def log(self, home, key, action, fields, status, mode, answer, moment):
        def values(pattern):
            return [value for name, value in fields.items() if re.fullmatch(pattern, name)]

        code = re.search(rb"<Code>([^<]+)</Code>", answer) if not status.startswith("200") else None
        if code is None and action in {*SCHEDULES.values(), *SCHEDULE_GROUPS.values()}:
            code = re.search(rb'"__type": *"([^"]+)"', answer)
        line = {
            "action": action or "(none)",
            "groups": values(r"GroupId|GroupId\.\d+|Filter\.\d+\.Value\.\d+"),
            "rules": values(r"SecurityGroupRuleId\.\d+|ResourceId\.\d+|SecurityGroupRule\.\d+\.SecurityGroupRuleId"),
            "cidrs": values(r"IpPermissions\..*\.CidrIp(v6)?|CidrIp(v6)?"),
            "dryRun": fields.get("DryRun", "false") == "true",
            "answer": code.group(1).decode() if code else status.split(" ")[0] if mode is None else mode,
            "accessKey": key,
            "fields": fields,
            "date": int(moment),
        }
        with open(os.path.join(home, "calls.log"), "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def refusal(fault, action):
    if action in {*SCHEDULES.values(), *SCHEDULE_GROUPS.values()}:
        body = json.dumps({"__type": fault["code"], "Message": fault["message"]}).encode()
        headers = [("Content-Type", "application/json"), ("x-amzn-ErrorType", fault["code"])]
        return f"{fault['status']} REFUSED", [*headers, ("Content-Length", str(len(body)))], body
    error = f"<Error><Code>{fault['code']}</Code><Message>{fault['message']}</Message></Error>"
    request = "7a62c49f-347e-4fc4-9331-6e8e00000000"
    if action in ("AssumeRole", "GetCallerIdentity") or "Role" in action:  # STS and IAM have a form of their own
        text = f"<ErrorResponse>{error}<RequestId>{request}</RequestId></ErrorResponse>"
    else:
        text = f"<Response><Errors>{error}</Errors><RequestID>{request}</RequestID></Response>"
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()
    return f"{fault['status']} REFUSED", [("Content-Type", "text/xml"), ("Content-Length", str(len(body)))], body


class Handler(MotoRequestHandler):
    def send_response(self, code, message=None):
        self.send_response_only(code, message)  # without a Date of its own: `Provider` sets it

    def log(self, type, message, *args):  # noqa: A002 - werkzeug's name
        pass


def main():
    server = make_server("127.0.0.1", 0, Provider(sys.argv[1]), threaded=True, request_handler=Handler)
    print(server.server_port, flush=True)

    def leave_with_parent():
        while sys.stdin.buffer.read(4096):
            pass
        shutil.rmtree(sys.argv[1], ignore_errors=True)
        os._exit(0)

    threading.Thread(target=leave_with_parent, daemon=True).start()
    server.serve_forever()


if __name__ == "__main__":
    main()
