"""TLS in front of a port of this machine, with a certificate authority of its own; also a proxy that tunnels.

Arguments: the port behind it, and where the authority's certificate goes. The first line on stdout is the port of the TLS
server, the second that of the proxy. Every tunnel that the proxy makes is a line on stdout: the target and the credentials
that were given. The process ends when its standard input closes.
"""

import base64
import datetime
import ipaddress
import os
import re
import socket
import ssl
import sys
import tempfile
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def certificate(name, key, issuer, issuer_key, extensions):
    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)
    builder = x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - day,
        not_valid_after=now + day,
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer_key, hashes.SHA256())


def named(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def context(authority_file):
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    basic = [(x509.BasicConstraints(ca=True, path_length=None), True)]
    ca = certificate(named("a test's authority"), ca_key, named("a test's authority"), ca_key, basic)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    leaf = certificate(named("localhost"), key, ca.subject, ca_key, [(x509.SubjectAlternativeName(names), False)])
    pem = serialization.Encoding.PEM
    with open(authority_file, "wb") as file:
        file.write(ca.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.set_alpn_protocols(["http/1.1"])
    with tempfile.NamedTemporaryFile() as both:
        both.write(private + leaf.public_bytes(pem))
        both.flush()
        made.load_cert_chain(both.name)
    return made


def pour(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def join(one, other):
    back = threading.Thread(target=pour, args=(other, one), daemon=True)
    back.start()
    pour(one, other)
    back.join()
    one.close()
    other.close()


def serve(listener, handle):
    def guarded(connection):
        try:
            handle(connection)
        except OSError:
            connection.close()

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=guarded, args=(connection,), daemon=True).start()


def tunnel(connection):
    head = b""
    while b"\r\n\r\n" not in head:
        data = connection.recv(4096)
        if not data:
            return connection.close()
        head += data
    text = head.decode("latin-1")
    line = text.split("\r\n")[0]
    given = re.search(r"(?im)^proxy-authorization: basic (\S+)", text)
    given = base64.b64decode(given.group(1)).decode() if given else "-"
    print(line, given, flush=True)
    match = re.fullmatch(r"CONNECT ([^:]+):(\d+) HTTP/1.1", line)
    if not match:
        connection.sendall(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
        return connection.close()
    other = socket.create_connection((match.group(1), int(match.group(2))))
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    join(connection, other)


def main():
    behind, authority_file = int(sys.argv[1]), sys.argv[2]
    tls = context(authority_file)

    def secure(connection):
        join(tls.wrap_socket(connection, server_side=True), socket.create_connection(("127.0.0.1", behind)))

    for handle in (secure, tunnel):
        listener = socket.create_server(("127.0.0.1", 0))
        print(listener.getsockname()[1], flush=True)
        threading.Thread(target=serve, args=(listener, handle), daemon=True).start()
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
