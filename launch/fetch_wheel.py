"""fetch_wheel.py FILENAME SHA256 OUTPUT: downloads one wheel from the package index that pip is configured for.

A download that broke off is continued where it stopped; the file is moved to OUTPUT only when its SHA-256 is right.
Exit codes: 0 done, 69 the index cannot be reached, 65 what came has another checksum.
"""

import hashlib
import http.client
import json
import os
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request


def index_url():
    try:
        from pip._internal.configuration import Configuration
        from pip._internal.models.index import PyPI
    except ImportError:  # no pip here: its environment variable still counts
        return os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple")
    configuration = Configuration(isolated=False)
    configuration.load()
    settings = dict(configuration.items())
    for key in (":env:.index-url", "global.index-url"):
        if settings.get(key):
            return settings[key]
    return PyPI.simple_url


def file_url(index, filename):
    project = re.sub(r"[-_.]+", "-", filename.split("-")[0]).lower()
    page = f"{index.rstrip('/')}/{project}/"
    request = urllib.request.Request(page, headers={"Accept": "application/vnd.pypi.simple.v1+json, text/html;q=0.5"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = answer.read().decode()
        if "json" in answer.headers.get("Content-Type", ""):
            links = [(f["filename"], f["url"]) for f in json.loads(text)["files"]]
        else:
            links = [(os.path.basename(u), u) for u in re.findall(r'href="([^"#]+)', text)]
    for name, url in links:
        if name == filename:
            return urllib.parse.urljoin(page, url)
    raise urllib.error.URLError(f"{filename} is not in the package index")


def download(url, partial):
    done = os.path.getsize(partial) if os.path.exists(partial) else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        answer = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as e:
        if e.code == 416:  # nothing left to fetch
            return
        raise
    with answer, open(partial, "ab" if answer.status == 206 else "wb") as out:
        done = out.tell()
        total = done + int(answer.headers.get("Content-Length", 0))
        shown = -1
        while block := answer.read(1 << 20):
            out.write(block)
            done += len(block)
            percent = 100 * done // total if total else 0
            if percent // 10 != shown:
                shown = percent // 10
                print(f"  {os.path.basename(partial)[:-5]}: {percent} % of {total >> 20} MiB", flush=True)
    if done < total:
        raise ConnectionError(f"the connection ended after {done} of {total} bytes")


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def main(filename, expected, output):
    partial = os.path.join(os.path.dirname(output), filename + ".part")
    try:
        for attempt in range(5):
            try:
                download(file_url(index_url(), filename), partial)
                break
            except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as e:
                if attempt == 4:
                    raise
                print(f"  interrupted ({e}), trying again", flush=True)
                time.sleep(2**attempt)
    except (OSError, http.client.HTTPException) as e:
        print(f"cannot download {filename}: {e}; run again to continue", file=sys.stderr)
        return 69
    if sha256(partial) != expected:
        os.remove(partial)
        print(f"{filename} has another checksum than expected and was removed; run again", file=sys.stderr)
        return 65
    os.replace(partial, output)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
