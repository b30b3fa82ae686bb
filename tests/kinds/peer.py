"""A server that answers what it gets, a connection that is told on stdin what to do, or one request by HTTP."""
import http.client
import socket
import sys
import threading


def serve(port):
    server = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    print("ready", flush=True)

    def answer(connection):
        while data := connection.recv(100):
            connection.sendall(data)

    while True:
        connection, _ = server.accept()
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def connect(source, host, port):
    try:
        connection = socket.create_connection((host, port), timeout=20, source_address=(source, 0))
    except OSError as error:
        return print("refused" if isinstance(error, ConnectionRefusedError) else repr(error), flush=True)
    print("connected", flush=True)
    for line in sys.stdin:
        # Long enough for an answer on a busy machine, and for several attempts of TCP.
        connection.settimeout(float(line))
        try:
            connection.sendall(b"hello")
            print("alive" if connection.recv(100) == b"hello" else "closed", flush=True)
        except OSError:
            print("dead", flush=True)


if sys.argv[1] == "serve":
    serve(int(sys.argv[2]))
elif sys.argv[1] == "get":
    page = http.client.HTTPConnection(sys.argv[3], timeout=20, source_address=(sys.argv[2], 0))
    page.request("GET", "/")
    print(page.getresponse().status)
else:
    connect(sys.argv[2], sys.argv[3], int(sys.argv[4]))
