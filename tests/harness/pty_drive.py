"""Runs a program on a pseudo-terminal and types on it.

    pty_drive.py '[["what has to appear", "what is typed then"], ...]' PROGRAM [ARG ...]

Keys wait until the program reads single keys: before, the terminal would take Ctrl-C for itself. Everything that the terminal shows goes to stdout; the exit status is the program's. A text that never appears ends the
program with the terminal's hangup, and this with status 99.
"""

import fcntl
import json
import os
import pty
import select
import struct
import sys
import termios
import time

PATIENCE = 40


def main():
    keys, program = json.loads(sys.argv[1]), sys.argv[2:]
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        os.execv(program[0], program)
    shown, seen, begun = b"", 0, time.monotonic()
    while True:
        for wanted, typed in keys[:1]:
            at = shown.find(wanted.encode(), seen)
            if at >= 0 and not termios.tcgetattr(terminal)[3] & termios.ICANON:
                seen = at + len(wanted.encode())
                keys.pop(0)
                os.write(terminal, typed.encode())
        if time.monotonic() - begun > PATIENCE:
            break
        ready, _, _ = select.select([terminal], [], [], 0.02)
        if not ready:
            continue
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the other side has gone
            part = b""
        if not part:
            break
        shown += part
    sys.stdout.buffer.write(shown)
    sys.stdout.flush()
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    if keys:
        sys.stderr.write(f"never appeared: {keys[0][0]!r}\n")
        sys.exit(99)
    sys.exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))


main()
