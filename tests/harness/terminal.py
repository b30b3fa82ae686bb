"""Runs a command on a pseudo-terminal of its own: ROWS COLUMNS COMMAND ARGUMENT...

What it draws goes to standard output, what comes in on standard input are its keys. At its end the last line on
standard error says whether it left the terminal as it was (`cooked`) or not (`raw`).
"""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios


def controlling():
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


rows, columns = int(sys.argv[1]), int(sys.argv[2])
ours, theirs = pty.openpty()
fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
before = termios.tcgetattr(theirs)
child = subprocess.Popen(
    sys.argv[3:], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, preexec_fn=controlling
)
print(child.pid, file=sys.stderr, flush=True)

keys = [0]
while True:
    ended = child.poll() is not None
    readable, _, _ = select.select([ours] + keys, [], [], 0.0 if ended else 0.02)
    if ours in readable:
        os.write(1, os.read(ours, 65536))
    elif ended:
        break
    if 0 in readable:
        pressed = os.read(0, 4096)
        if pressed:
            os.write(ours, pressed)
        else:
            keys = []

print("cooked" if termios.tcgetattr(theirs) == before else "raw", file=sys.stderr)
sys.exit(child.returncode if child.returncode >= 0 else 128 - child.returncode)
