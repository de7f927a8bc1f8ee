# The libraries that walkaudit is built with: found, tested for what is used of them, and named as four package systems name
# them where one is missing.

include(CheckCSourceCompiles)

set(WA_MISSING)
# What is missing, and its package in Debian (and Ubuntu), Fedora (and RHEL with EPEL), Spack and conda-forge.
function(wa_missing what debian fedora spack conda)
  string(APPEND WA_MISSING "\n  ${what}: Debian ${debian}; Fedora, RHEL ${fedora}; Spack ${spack}; conda-forge ${conda}")
  set(WA_MISSING "${WA_MISSING}" PARENT_SCOPE)
endfunction()

# MPI of any make: CC, MPI_C_COMPILER or MPI_EXECUTABLE_SUFFIX (".mpich") choose among several.
find_package(MPI 3.0 QUIET COMPONENTS C)
if(NOT MPI_C_FOUND)
  wa_missing("MPI 3" "libopenmpi-dev or libmpich-dev" "openmpi-devel or mpich-devel (and `module load mpi`)"
    "openmpi or mpich" "openmpi or mpich")
endif()

# A serial HDF5 suffices. A parallel one serves too, if it was built with the same MPI.
find_package(HDF5 1.10.5 QUIET COMPONENTS C HL)
if(NOT HDF5_FOUND)
  wa_missing("HDF5 1.10.5 with its high-level library" libhdf5-dev hdf5-devel "hdf5 +hl" hdf5)
endif()

# Any BLAS with the C interface; BLA_VENDOR chooses among several. Its integers have 32 bits.
set(BLA_SIZEOF_INTEGER 4)
find_package(BLAS QUIET)
find_path(WA_CBLAS_INCLUDE NAMES cblas.h PATH_SUFFIXES openblas openblas-pthread flexiblas blis
  DOC "Directory of cblas.h, which is the same for every library")
find_path(WA_MKL_INCLUDE NAMES mkl_cblas.h HINTS ENV MKLROOT PATH_SUFFIXES include mkl)
mark_as_advanced(WA_CBLAS_INCLUDE WA_MKL_INCLUDE)
if(NOT WA_CBLAS_INCLUDE AND WA_MKL_INCLUDE)
  file(WRITE ${PROJECT_BINARY_DIR}/mkl/cblas.h "#include <mkl_cblas.h>\n")
  set(WA_CBLAS_INCLUDES ${PROJECT_BINARY_DIR}/mkl ${WA_MKL_INCLUDE})
else()
  set(WA_CBLAS_INCLUDES ${WA_CBLAS_INCLUDE})
endif()

function(wa_check_cblas out)
  set(CMAKE_REQUIRED_INCLUDES ${WA_CBLAS_INCLUDES})
  set(CMAKE_REQUIRED_FLAGS ${BLAS_LINKER_FLAGS})
  set(CMAKE_REQUIRED_LIBRARIES ${ARGN})
  check_c_source_compiles("
    #include <cblas.h>
    int main(int argc, char **argv)
    {
        enum CBLAS_TRANSPOSE turn = CblasTrans;
        float f = 1.0F;
        double d = 1.0;
        (void)argv;
        cblas_sgemm(CblasRowMajor, CblasNoTrans, turn, argc, 1, 1, 1.0F, &f, 1, &f, 1, 0.0F, &f, 1);
        cblas_dgemm(CblasRowMajor, CblasNoTrans, turn, argc, 1, 1, 1.0, &d, 1, &d, 1, 0.0, &d, 1);
        return 0;
    }" ${out})
endfunction()

set(WA_BLAS_LIBRARIES ${BLAS_LIBRARIES})
if(BLAS_FOUND AND WA_CBLAS_INCLUDES)
  wa_check_cblas(WA_BLAS_HAS_CBLAS ${WA_BLAS_LIBRARIES})
  find_library(WA_CBLAS_LIBRARY NAMES cblas DOC "The C interface of a BLAS that has it in a library of its own")
  mark_as_advanced(WA_CBLAS_LIBRARY)
  if(NOT WA_BLAS_HAS_CBLAS AND WA_CBLAS_LIBRARY)
    list(PREPEND WA_BLAS_LIBRARIES ${WA_CBLAS_LIBRARY})
    wa_check_cblas(WA_BLAS_WITH_CBLAS ${WA_BLAS_LIBRARIES})
  endif()
endif()
if(NOT WA_BLAS_HAS_CBLAS AND NOT WA_BLAS_WITH_CBLAS)
  wa_missing("BLAS with cblas.h" libopenblas-dev openblas-devel openblas "libcblas with openblas")
endif()

find_package(PkgConfig QUIET)
if(NOT PKG_CONFIG_FOUND)
  wa_missing(pkg-config pkg-config pkgconf-pkg-config pkgconf pkg-config)
endif()

# A library with a pkg-config file; its packages as wa_missing has them.
macro(wa_package prefix module)
  if(PKG_CONFIG_FOUND)
    pkg_check_modules(${prefix} QUIET IMPORTED_TARGET ${module})
  endif()
  if(NOT ${prefix}_FOUND)
    wa_missing(${module} ${ARGN})
  endif()
endmacro()

wa_package(JANSSON jansson libjansson-dev jansson-devel jansson jansson)
wa_package(CYAML libcyaml libcyaml-dev libcyaml-devel libcyaml "none (build it from source)")
wa_package(YAML yaml-0.1 libyaml-dev libyaml-devel libyaml yaml)
wa_package(PCRE2 libpcre2-8 libpcre2-dev pcre2-devel pcre2 pcre2)
wa_package(UTF8PROC libutf8proc libutf8proc-dev utf8proc-devel utf8proc libutf8proc)
wa_package(CRYPTO libcrypto libssl-dev openssl-devel openssl openssl)
wa_package(CURL libcurl libcurl4-openssl-dev libcurl-devel curl libcurl)
if(WALKAUDIT_TESTS)
  wa_package(CUNIT cunit libcunit1-dev CUnit-devel cunit cunit)
endif()

if(WA_MISSING)
  message(FATAL_ERROR "missing:${WA_MISSING}\nOn Debian 12 'sh setup.sh' installs all that walkaudit needs.")
endif()
