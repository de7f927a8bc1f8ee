"""A real Slurm on this machine, private to one test run: its own munge key, socket, ports, state and configuration.

It lives in one temporary directory. Needs root, since slurmd starts tasks, and Debian's slurm-wlm and munge. No cgroups,
no accounting database: a functional test bed, whose timings mean little (slurm-on-one-node 2 and 7).
"""
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import tempfile
import time

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "mpirun")

# Port numbers and names are filled in. config_overrides: nodes claim 4 processors each, whatever the machine has.
CONFIG = """\
ClusterName=walkaudit
SlurmctldHost=localhost
SlurmctldPort={control}
SlurmUser=slurm
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=cred_expire=10,socket={root}/munge/socket
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool/%n
TmpFS={root}/spool/%n/tmp
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd-%n.pid
SlurmctldLogFile={root}/log/slurmctld.log
SlurmdLogFile={root}/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=1,sched_interval=2,bf_interval=2
MpiDefault=pmix
JobRequeue=1
KillWait=10
MinJobAge=3600
ReturnToService=2
SlurmdTimeout=60
SlurmdParameters=config_overrides
NodeName=n[1-{nodes}] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[{first}-{last}] CPUs=4 Boards=1 SocketsPerBoard=1 CoresPerSocket=4 ThreadsPerCore=1 RealMemory=2000 State=UNKNOWN
PartitionName=debug Nodes=n[1-{nodes}] Default=YES MaxTime=08:00:00 State=UP
"""


def why_not():
    """Why no Slurm can be started here; None when one can."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=search_path()) is None]
    if missing:
        return f"{', '.join(missing)} not installed; 'sh setup.sh' installs slurm-wlm and munge"
    if os.getuid() != 0:
        return "a Slurm that starts tasks needs root"
    for user in ("slurm", "munge"):
        try:
            pwd.getpwnam(user)
        except KeyError:
            return f"no user '{user}'; Debian's packages make it"
    return None


def search_path():
    return os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin:/sbin"


def free_ports(count):
    """The first of `count` consecutive ports that are free now."""
    for first in range(17000, 60000, 20):
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
    raise RuntimeError("no free ports")


class Bed:
    """Started by `with Bed(nodes) as slurm`; jobs cancelled, stopped and removed at the end."""

    def __init__(self, nodes=1):
        # Users slurm and munge must reach it, which rules out pytest's private directories.
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="walkaudit-slurm-"))
        self.nodes = nodes
        self.env = dict(os.environ, PATH=search_path(), SLURM_CONF=str(self.root / "slurm.conf"),
                        MUNGE_SOCKET=str(self.root / "munge/socket"), LC_ALL="C.UTF-8")
        for name in [n for n in self.env if n.startswith("SLURM_") and n != "SLURM_CONF"]:
            del self.env[name]

    def __enter__(self):
        try:
            self.make_folders()
            self.start_munge()
            self.start_slurm()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *what):
        self.stop()

    def make_folders(self):
        self.root.chmod(0o755)
        for name, owner in (("munge", "munge"), ("state", "slurm"), ("log", "slurm"), ("spool", None)):
            folder = self.root / name
            folder.mkdir()
            folder.chmod(0o755)
            if owner is not None:
                shutil.chown(folder, owner, owner)
        for node in self.names():
            scratch = self.root / "spool" / node / "tmp"
            scratch.mkdir(parents=True)
            scratch.chmod(0o1777)
        first = free_ports(self.nodes + 1)
        (self.root / "slurm.conf").write_text(CONFIG.format(
            root=self.root, nodes=self.nodes, control=first, first=first + 1, last=first + self.nodes))

    def names(self):
        return [f"n{i + 1}" for i in range(self.nodes)]

    def start_munge(self):
        folder = self.root / "munge"
        key = folder / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        shutil.chown(key, "munge", "munge")
        self.call(["runuser", "-u", "munge", "--", "munged", f"--socket={folder}/socket",
                   f"--key-file={key}", f"--pid-file={folder}/pid", f"--log-file={folder}/log",
                   f"--seed-file={folder}/seed"])

    def start_slurm(self):
        self.call(["slurmctld"])
        for node in self.names():
            self.call(["slurmd", "-N", node])
        self.wait(lambda: self.states() == ["idle"] * self.nodes, 60, "idle nodes")

    def states(self):
        """State of each node."""
        return self.output(["sinfo", "-h", "-N", "-o", "%t"], check=False).split()

    def stop(self):
        for words in (["scancel", "--full", "--user=root"], ["scontrol", "shutdown"],
                      ["munged", "--stop", f"--socket={self.root}/munge/socket"]):
            subprocess.run(words, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, timeout=30, check=False)
            if words[0] == "scancel":
                self.wait(lambda: not self.output(["squeue", "-h"], check=False).strip(), 20, None)
        self.kill_left()
        shutil.rmtree(self.root, ignore_errors=True)

    def kill_left(self):
        """Daemons that did not hear the shutdown: by their pid files."""
        for pid_file in [*self.root.glob("*.pid"), self.root / "munge/pid"]:
            try:
                os.kill(int(pid_file.read_text()), 9)
            except (OSError, ValueError):
                pass

    # --- Commands ---------------------------------------------------------------------------------

    def call(self, words):
        """Start a daemon: it must not keep our pipes open."""
        log = self.root / "start.log"
        with open(log, "ab") as out:
            done = subprocess.run(words, env=self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                  timeout=30, check=False)
        assert done.returncode == 0, f"{words} exit {done.returncode}\n{log.read_text()}"

    def output(self, words, check=True):
        done = subprocess.run(words, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=120, check=False)
        assert done.returncode == 0 or not check, f"{words} exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def wait(self, holds, seconds, what):
        """Until holds(); what = None: or until the time is up."""
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                assert what is None, f"no {what} within {seconds} s\n{self.logs()}"
                return
            time.sleep(0.3)

    def logs(self):
        return "\n".join(f"--- {p.name}\n{p.read_text(errors='replace')[-2000:]}"
                         for p in sorted((self.root / "log").glob("*.log")))

    # --- Jobs -------------------------------------------------------------------------------------

    def submit(self, *words, cwd):
        """sbatch; the job's id."""
        done = subprocess.run(["sbatch", "--parsable", *map(str, words)], env=self.env, cwd=cwd, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, f"sbatch {words}\n{done.stdout}{done.stderr}"
        return done.stdout.strip().split(";")[0]

    def job(self, job_id):
        """Facts of a job (of an array's first task) as `scontrol show job` has them."""
        text = self.output(["scontrol", "-o", "show", "job", str(job_id)], check=False)
        line = text.splitlines()[0] if text else ""
        return dict(word.split("=", 1) for word in line.split() if "=" in word)

    def states_of(self, job_id):
        """State of a job, or of each task of an array."""
        text = self.output(["scontrol", "-o", "show", "job", str(job_id)], check=False)
        return [word.split("=")[1] for line in text.splitlines() for word in line.split()
                if word.startswith("JobState=")]

    def finish(self, job_id, seconds=120):
        """Wait until a job (all tasks of an array) has ended for good; its states."""
        ended = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"}
        self.wait(lambda: set(self.states_of(job_id)) <= ended and self.states_of(job_id), seconds,
                  f"end of job {job_id}")
        return self.states_of(job_id)
