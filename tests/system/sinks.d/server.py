"""A server as an unprivileged user on loopback, in a folder of its own."""
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile

from plant import find_bin, log, scratch


def feed(words, *options):
    """Begins to feed a sink of its own with records that are a function of their number (tests/support/push_sink.c)."""
    return subprocess.Popen([find_bin("weir-push-sink"), *options], env=dict(os.environ, WEIR_PUSH=words),
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def unprivileged(*names):
    """The user to run as: ourselves when we are nobody special, else the first of these that is there."""
    if os.geteuid() != 0:
        return None
    for name in (*names, "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return None


class Server:
    def __init__(self, prefix, *users):
        self.user = unprivileged(*users)
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=f"weir-{prefix}-", dir=scratch()))
        if self.user:
            os.chown(self.dir, self.user.pw_uid, self.user.pw_gid)
        self.log_path = self.dir / "server.log"
        self.popen = None

    def options(self):
        if not self.user:
            return {}
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}

    def run(self, *argv, **more):
        return subprocess.run([str(a) for a in argv], cwd=self.dir, check=True, **self.options(), **more)

    def spawn(self, *argv):
        with open(self.log_path, "ab") as out:
            self.popen = subprocess.Popen([str(a) for a in argv], cwd=self.dir, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                          start_new_session=True, **self.options())

    def kill(self, all_of_it=False):
        """-9 to the first process, or to all of its session."""
        if self.popen is None:
            return
        (os.killpg if all_of_it else os.kill)(self.popen.pid, signal.SIGKILL)
        self.popen.wait()
        self.popen = None

    def tail(self, lines=15):
        text = self.log_path.read_text(errors="replace").splitlines() if self.log_path.exists() else []
        return "\n".join(text[-lines:])

    def remove(self, keep):
        self.kill(all_of_it=True)
        if keep:
            log(f"kept {self.dir}")
        else:
            shutil.rmtree(self.dir, ignore_errors=True)
