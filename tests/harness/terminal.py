"""Runs a command on a pseudo-terminal of its own: ROWS COLUMNS KEYS COMMAND ARGUMENT...

The command's output goes to standard output. Keys come from standard input, and from KEYS, a JSON list of pairs: the text
that must appear, and the keys to press then. Keys from the list wait until the command reads single keys; before that, the
terminal would take Ctrl-C for itself. A text that never appears ends the command by the terminal's hangup.

The first line on standard error is the process id. The last one is `cooked` if the command left the terminal as it was,
`raw` if not, `never` if a text did not appear.
"""

import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time

PATIENCE = 40


def controlling():
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


rows, columns, script = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
ours, theirs = pty.openpty()
fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
before = termios.tcgetattr(theirs)
child = subprocess.Popen(
    sys.argv[4:], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, preexec_fn=controlling
)
print(child.pid, file=sys.stderr, flush=True)

keys = [0]
shown, read_to, begun = b"", 0, time.monotonic()
while True:
    ended = child.poll() is not None
    readable, _, _ = select.select([ours] + keys, [], [], 0.0 if ended else 0.02)
    if ours in readable:
        drawn = os.read(ours, 65536)
        shown += drawn if script else b""
        os.write(1, drawn)
    elif ended:
        break
    if 0 in readable:
        pressed = os.read(0, 4096)
        if pressed:
            os.write(ours, pressed)
        else:
            keys = []
    if script and not ended:
        at = shown.find(script[0][0].encode(), read_to)
        if at >= 0 and not termios.tcgetattr(theirs)[3] & termios.ICANON:
            read_to = at + len(script[0][0].encode())
            os.write(ours, script.pop(0)[1].encode())
        elif time.monotonic() - begun > PATIENCE:
            os.killpg(child.pid, 1)
            child.wait()

if script:
    print("never", file=sys.stderr)
else:
    print("cooked" if termios.tcgetattr(theirs) == before else "raw", file=sys.stderr)
sys.exit(child.returncode if child.returncode >= 0 else 128 - child.returncode)
