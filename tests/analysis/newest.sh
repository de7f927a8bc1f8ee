#!/bin/sh
# The tests of this directory with the newest numpy, h5py, xarray and matplotlib that pip finds, as `pip install ./analysis` would
# have them, instead of Debian's:
#
#   sh tests/analysis/newest.sh build/test                      all of them
#   sh tests/analysis/newest.sh build/test test_worst.py -k json
#
# The first word is a build with tests. Makes a virtual environment in it; needs a package index. Exit code 77 (skipped), saying
# why, where there is none.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "${1:?a build directory is missing: sh tests/analysis/newest.sh build/test}" && pwd)
shift
home=$build/tests/newest
/usr/bin/python3 -m venv --clear "$home"
# A copy: what setuptools builds does not belong into the source.
cp -R "$root/analysis" "$home/analysis"
"$home/bin/pip" install -q --disable-pip-version-check "$home/analysis[labels]" setuptools wheel pytest selenium h5netcdf netCDF4 || {
    echo "newest: skipped: pip cannot install the packages" >&2
    exit 77
}
"$home/bin/python" -c 'import h5py, matplotlib, numpy, sys, xarray
for module in (numpy, h5py, xarray, matplotlib):
    print(module.__name__, module.__version__, end="; ")
print("Python", sys.version.split()[0])'
export WALKAUDIT="$build/walkaudit" WALKAUDIT_FAULTY="$build/walkaudit-faulty" WALKAUDIT_BUILD="$build"
export WALKAUDIT_KERNELS="$build/tests" WALKAUDIT_REPORT_COMMAND="$home/bin/walkaudit-report"
export OPENBLAS_NUM_THREADS=1 OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
if [ "$(id -u)" -eq 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
cd "$root/tests/analysis"
[ $# -gt 0 ] || set -- .
exec "$home/bin/python" -B -m pytest -q -p no:cacheprovider "$@"
