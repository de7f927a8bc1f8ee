/* HDF5 types of the layout's types. Private to src/store. */
#ifndef WALKAUDIT_STORE_TYPES_HDF5_H
#define WALKAUDIT_STORE_TYPES_HDF5_H

#include "store/file.h"

/** Borrowed ids of a number type in files (little-endian) and in memory. */
wa_hid wa_file_type(wa_layout_type type);
wa_hid wa_memory_type(wa_layout_type type);
/** A new id of the variable-length UTF-8 string type; close it. */
wa_hid wa_text_type(void);

#endif
