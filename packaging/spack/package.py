"""Spack recipe. walkaudit's libraries are all Spack packages; libcyaml's is called `libcyaml`."""
from spack.package import *


class Walkaudit(CMakePackage):
    """Audits fast ways of running a language model's feed-forward networks against the dense model, as an MPI program."""

    license("Apache-2.0")

    version("0.1.0")  # add url and sha256 of the release that you use

    variant("report", default=True, description="Python for walkaudit-report")

    depends_on("c", type="build")
    depends_on("cmake@3.22:", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("mpi@3:")
    depends_on("hdf5@1.10.5:")
    depends_on("blas")
    depends_on("libcyaml")
    depends_on("libyaml")
    depends_on("jansson")
    depends_on("pcre2")
    depends_on("utf8proc")
    depends_on("openssl")
    depends_on("curl")
    depends_on("python@3.9:", type="run", when="+report")
    depends_on("py-numpy", type="run", when="+report")
    depends_on("py-h5py", type="run", when="+report")
    depends_on("py-matplotlib", type="run", when="+report")
    depends_on("py-xarray", type="run", when="+report")

    def cmake_args(self):
        return [self.define("WALKAUDIT_TESTS", False)]
