"""moto's S3 server in a process of its own, told by lines on its standard input what to do.

    provider_process.py PORT LOG

`stop` closes the listener, `start` opens it again with all objects still there (moto keeps them in memory, and a new
process would have none); `hang` lets requests wait before they are looked at, `go` lets them on; `plant N PREFIX` puts N small
objects straight into moto's memory, so that a large bucket does not take an hour; `requests` tells what was asked since
the last time. Each is answered with a line of JSON. Ends with its standard input. Every request is written to the file LOG,
with its conditions and how it ended.
"""

import hashlib
import json
import sys
import threading
import time

import werkzeug.serving
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.s3.models import s3_backends


class Provider:
    def __init__(self, port, log):
        self.port = port
        self.log = log
        self.moto = DomainDispatcherApplication(create_backend_app)
        self.asked = []
        self.open = threading.Event()
        self.open.set()
        # moto is not made for threads: a list breaks off with 500 when somebody writes meanwhile.
        self.one_at_a_time = threading.Lock()
        self.server = None

    def __call__(self, environ, start_response):
        path = environ.get("RAW_URI") or environ["PATH_INFO"]
        self.asked.append(f"{environ['REQUEST_METHOD']} {path}")
        self.open.wait()
        begun = time.time()

        def answer(status, headers, *more):
            conditions = [environ.get("HTTP_IF_MATCH"), environ.get("HTTP_IF_NONE_MATCH")]
            tag = dict((name.lower(), value) for name, value in headers).get("etag")
            line = f"{begun:.3f} {time.time():.3f} {environ['REQUEST_METHOD']} {path} {conditions} {status} {tag}"
            print(line, file=self.log, flush=True)
            return start_response(status, headers, *more)

        with self.one_at_a_time:
            return self.moto(environ, answer)

    def start(self):
        self.server = werkzeug.serving.make_server("127.0.0.1", self.port, self, threaded=True,
                                                   request_handler=MotoRequestHandler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def plant(self, count, bucket):
        backend = s3_backends["123456789012"]["aws"]
        for number in range(int(count)):
            key = planted_key(number)
            backend.put_object(bucket, key, planted_body(key, number))

    def requests(self):
        asked, self.asked = self.asked, []
        return asked


def planted_key(number):
    """In ten folders; some names are not plain ASCII."""
    odd = "é +&" if number % 50 == 7 else ""
    return f"planted/{number % 10}/{number:07}{odd}"


def planted_body(key, number):
    """Up to 600 bytes; every hundredth is empty, every five-hundredth has 40 kB."""
    size = 0 if number % 100 == 3 else 40_000 if number % 500 == 11 else number % 600
    digest = hashlib.sha256(key.encode()).digest()
    return (digest * (size // 32 + 1))[:size]


def main():
    provider = Provider(int(sys.argv[1]), open(sys.argv[2], "a", encoding="utf-8"))
    provider.start()
    print(json.dumps(provider.port), flush=True)
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "hang":
            answer = provider.open.clear()
        elif word == "go":
            answer = provider.open.set()
        else:
            answer = getattr(provider, word)(*rest)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
