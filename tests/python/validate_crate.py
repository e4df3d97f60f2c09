"""Validates a folder as a Provenance Run Crate 0.5 without the network: python3 validate_crate.py CRATE

Needs roc-validator, and rocrate, whose copy of RO-Crate's context stands in for the one on the web. Prints what is wrong, one line
each, and ends with 1 where something is.
"""

import importlib.resources
import io
import json
import pathlib
import subprocess
import sys
import tempfile

import requests
import requests_cache
import urllib3
from requests.adapters import BaseAdapter

CONTEXT = "https://w3id.org/ro/crate/1.1/context"


class Answers(BaseAdapter):
    """Gives the same bytes to every request."""

    def __init__(self, body: bytes):
        super().__init__()
        self.body = body

    def send(self, request, **_):
        headers = {"Content-Type": "application/ld+json"}
        response = requests.Response()
        response.status_code, response.reason = 200, "OK"
        response.url, response.request = request.url, request
        response.headers.update(headers)
        response.raw = urllib3.HTTPResponse(
            io.BytesIO(self.body), headers, 200, preload_content=False, request_url=request.url
        )
        return response

    def close(self):
        pass


def main() -> int:
    crate = sys.argv[1]
    body = importlib.resources.files("rocrate").joinpath("data/ro-crate.jsonld").read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        cache, report = pathlib.Path(folder, "http"), pathlib.Path(folder, "report.json")
        session = requests_cache.CachedSession(cache_name=str(cache), backend="sqlite", expire_after=-1)
        session.mount("https://", Answers(body))
        session.get(CONTEXT)
        session.close()
        validator = pathlib.Path(sys.executable).with_name("rocrate-validator")
        command = [validator, "-y", "validate", "--offline", "--cache-path", cache, "-p", "provenance-run-crate"]
        command += ["-l", "required", "--output-format", "json", "--output-file", report, crate]
        validated = subprocess.run(command, capture_output=True, text=True, check=False)
        if not report.exists():
            print(validated.stdout, validated.stderr)
            return 2
        found = json.loads(report.read_text())
    for issue in found.get("issues", []):
        print(issue.get("violatingEntity"), issue.get("message"))
    return 0 if found["passed"] else 1


sys.exit(main())
