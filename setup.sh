#!/bin/sh
# Install what walkaudit is built and tested with: Debian 12 packages, nothing else.
# As root or through sudo; calls apt only when something is missing.
set -eu

# One line each for: building, MPI and HDF5, numbers, text and files, tests and analysis, the test of its pages,
# Slurm, a clean root, fuzzing, clang-format and clang-tidy.
packages="build-essential cmake ninja-build pkg-config
    openmpi-bin libopenmpi-dev mpich libmpich-dev libhdf5-dev hdf5-tools
    libopenblas-dev
    libcyaml-dev libyaml-dev libjansson-dev libpcre2-dev libutf8proc-dev libssl-dev libcurl4-openssl-dev
    libcunit1-dev python3 python3-pip python3-venv python3-pytest python3-numpy python3-h5py python3-xarray
    groff-base python3-h5netcdf python3-netcdf4 python3-matplotlib
    chromium chromium-driver python3-selenium fonts-dejavu-core ca-certificates
    slurm-wlm munge
    debootstrap
    clang libclang-rt-14-dev clang-format clang-tidy"

is_installed() {
    dpkg-query --show --showformat='${db:Status-Abbrev}' "$1" 2>/dev/null | grep -q '^ii'
}

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "setup.sh: no dpkg and apt-get here; install by hand the equivalents of:" $packages >&2
    exit 1
fi

missing=
for package in $packages; do
    is_installed "$package" || missing="$missing $package"
done
if [ -z "$missing" ]; then
    echo "setup.sh: all packages are installed"
    exit 0
fi

if [ "$(id -u)" -eq 0 ]; then
    as_root=
elif command -v sudo >/dev/null; then
    as_root=sudo
else
    echo "setup.sh: neither root nor sudo; ask for these packages:$missing" >&2
    exit 1
fi

apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@"
}

# apt's own messages matter only when it fails.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "setup.sh: installing$missing"
if ! { apt update && apt install --yes --no-install-recommends $missing; } >"$log" 2>&1; then
    cat "$log" >&2
    echo "setup.sh: apt-get failed" >&2
    exit 1
fi
echo "setup.sh: done"
