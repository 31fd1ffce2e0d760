"""Python's HTTPS server as the policy host of many domains. RFC 8461 3.3."""

import http.server
import ssl
import threading

from . import HOST, same


class PolicyHost:
    """Serves `policies`, by domain: those that are not there are not found. `files`: chain and key of its certificate; `redirects`: domains
    whose policy is said to be another's."""

    def __init__(self, files, policies, redirects=()):
        self.asked = asked = []
        redirects = dict(redirects)

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):  # noqa: N802, the name that the library calls
                domain = self.headers["host"].split(":")[0].removeprefix("mta-sts.")
                asked.append((domain, self.path))
                if domain in redirects:
                    self.send_response(301)
                    self.send_header("location", f"https://mta-sts.{redirects[domain]}/.well-known/mta-sts.txt")
                    self.send_header("content-length", "0")
                    self.end_headers()
                    return
                body = policies.get(domain, "").encode()
                self.send_response(200 if body else 404)
                self.send_header("content-type", "text/plain")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                """Who does not like the certificate breaks off."""

        self.server = Server((HOST, 0), Handler)
        self.port = self.server.server_address[1]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def times(self, domain):
        same({path for _, path in self.asked} - {"/.well-known/mta-sts.txt"}, set(), "paths")
        return sum(1 for asked, _ in self.asked if asked == domain)
