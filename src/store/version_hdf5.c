/* Which HDF5 library this is, for --version and provenance. */
#include "store/store.h"

#include <hdf5.h>

const char *wa_store_library(void)
{
    return H5_VERS_INFO;
}
