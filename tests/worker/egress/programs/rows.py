"""Run in a sandbox: tries every way out and prints what came of each."""

import json
import socket
import ssl
import sys
import urllib.request

PROXY = ("127.0.0.1", 3128)
context = ssl.create_default_context(cadata=sys.argv[1])
blind = ssl.create_default_context()
blind.check_hostname = False
blind.verify_mode = ssl.CERT_NONE
seen = {}


def get(url):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(), urllib.request.HTTPSHandler(context=context))
    return opener.open(url, timeout=20).read().decode()


def ask(request):
    with socket.create_connection(PROXY, 20) as s:
        s.sendall(request)
        data = b""
        while b"\r\n" not in data:
            more = s.recv(4096)
            if not more:
                break
            data += more
        return int(data.split()[1]) if data else "closed"


def connect(target):
    return ask(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())


def tunnel(name):
    s = socket.create_connection(PROXY, 20)
    s.sendall(f"CONNECT {name}:443 HTTP/1.1\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += s.recv(1)
    assert b" 200 " in head, head
    return s


def greet(name, server_hostname):
    s = tunnel(name)
    try:
        blind.wrap_socket(s, server_hostname=server_hostname).close()
        return "connected"
    except (ssl.SSLError, ConnectionError, OSError):
        return "closed"


def shout(name, data):
    s = tunnel(name)
    s.sendall(data)
    try:
        return "closed" if s.recv(100) == b"" else "answered"
    except ConnectionError:
        return "closed"


def direct(family, address, port, kind=socket.SOCK_STREAM):
    try:
        with socket.socket(family, kind) as s:
            s.settimeout(3)
            s.connect((address, port))
        return "connected"
    except OSError as exc:
        return "unreachable" if exc.errno in (101, 99) else repr(exc)


seen["allowed"] = get("https://allowed.test/")
seen["below a star"] = get("https://sub.allowed.test/")
seen["another name"] = connect("other.test:443")
seen["suffix trick"] = connect("allowed.test.evil.test:443")
seen["prefix trick"] = connect("evilallowed.test:443")
seen["address"] = connect("169.254.169.254:443")
seen["address in hex"] = connect("0xa9fea9fe:443")
seen["address v6"] = connect("[::1]:443")
seen["dot at the end"] = connect("allowed.test.:443")
seen["port 22"] = connect("allowed.test:22")
seen["port 80"] = connect("allowed.test:80")
seen["plain get"] = ask(b"GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n")
seen["no request"] = ask(b"\x16\x03\x01 nonsense\r\n\r\n")
seen["metadata by name"] = connect("inside.test:443")
seen["loopback by name"] = connect("loop.test:443")
seen["mapped by name"] = connect("mapped.test:443")
seen["no such name"] = connect("nowhere.example:443")
seen["sni differs"] = greet("allowed.test", "other.test")
seen["no sni"] = greet("allowed.test", None)
seen["no tls"] = shout("allowed.test", b"GET / HTTP/1.1\r\nHost: allowed.test\r\n\r\n")
seen["direct metadata"] = direct(socket.AF_INET, "169.254.169.254", 80)
seen["direct private"] = direct(socket.AF_INET, "10.0.0.1", 6379)
seen["direct gateway"] = direct(socket.AF_INET, "172.17.0.1", 6379)
seen["direct public"] = direct(socket.AF_INET, "93.184.215.14", 443)
seen["direct dns"] = direct(socket.AF_INET, "8.8.8.8", 53, socket.SOCK_DGRAM)
seen["direct v6"] = direct(socket.AF_INET6, "2606:2800:21f::1", 443)
seen["direct metadata v6"] = direct(socket.AF_INET6, "fd00:ec2::254", 80)
try:
    seen["resolver"] = socket.getaddrinfo("allowed.test", 443)[0][4][0]
except OSError:
    seen["resolver"] = "none"
print(json.dumps(seen))
