"""A page of another origin in headless Chromium (apt's): `python -m tests.foreign browser`.

`fetch` with `xi-api-key` asks leave first: the browser sends a preflight, and lets the page have neither the answer nor
its headers without the right words in both.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = """<!doctype html><meta charset="utf-8"><pre id="out"></pre><script>
const [base, text] = %s;
async function main() {
  const url = `${base}/v1/text-to-speech/JBFqnCBsd6RMkjVDRZzb/stream?output_format=pcm_16000`;
  const body = JSON.stringify({text, model_id: "eleven_flash_v2_5"});
  const headers = {"xi-api-key": "any", "content-type": "application/json"};
  const answer = await fetch(url, {method: "POST", headers, body});
  const bytes = new Uint8Array(await answer.arrayBuffer());
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  const cost = answer.headers.get("character-cost");
  const refused = await fetch(url, {method: "POST", headers: {"content-type": "application/json"}, body});
  return [
    {did: `fetch at the cost of ${cost}`, format: "pcm_16000", audio: btoa(binary)},
    {did: `a refusal that it may read: ${(await refused.json()).detail.code}`},
  ];
}
main().catch((error) => [{did: "fetch", format: "pcm_16000", audio: "", error: String(error)}])
  .then((lines) => { document.getElementById("out").textContent = JSON.stringify(lines); });
</script>"""


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = (PAGE % json.dumps([sys.argv[1], os.environ["TEXT"]])).encode()
        self.send_response(200)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("there is no chromium: apt-get install chromium")
    site = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as profile:
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--timeout=15000"]
        address = f"http://127.0.0.1:{site.server_port}/"
        command = [chromium, *options, "--virtual-time-budget=10000", "--dump-dom", address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    found = re.search(r'<pre id="out">(.*?)</pre>', done.stdout, re.DOTALL)
    lines = json.loads(html.unescape(found[1])) if found and found[1] else []
    for line in lines:
        print(json.dumps(line))


main()
