"""test_moving.py TEST_MOVING MPIEXEC: a large message arrives while its sender computes, whatever the transport does by itself."""
import os
import subprocess
import sys

# None of them moves a large message outside MPI's own calls.
TRANSPORTS = {
    "vader": {"OMPI_MCA_btl": "self,vader", "OMPI_MCA_btl_vader_single_copy_mechanism": "none"},
    "tcp": {"OMPI_MCA_btl": "self,tcp", "OMPI_MCA_btl_tcp_if_include": "lo"},
}


def main(program, mpiexec):
    mpiexec = os.environ.get("WALKAUDIT_MPIRUN", mpiexec).split()
    is_open_mpi = "--oversubscribe" in mpiexec
    wrong = []
    for name, transport in TRANSPORTS.items() if is_open_mpi else [("default", {})]:
        # What a sender that never looks does is known of these transports of Open MPI only.
        for words, expected in (([], 0), (["still"], 1)) if is_open_mpi else [([], 0)]:
            done = subprocess.run([*mpiexec, "-n", "2", program, *words], timeout=100, capture_output=True, text=True,
                                  env={**os.environ, **transport})
            print(name, *words, done.returncode, done.stdout.strip(), done.stderr.strip())
            if done.returncode != expected:
                wrong.append((name, words))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
