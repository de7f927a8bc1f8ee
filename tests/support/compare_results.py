"""compare_results.py A.h5 B.h5: are two results equal bit for bit, dataset by dataset, with types, shapes and attributes?

Left out: /run and the dataset `seconds`, the only things that may differ between two runs of one job. Exit code 0 or 1.
"""
import functools
import os
import sys

import h5py
import numpy
from h5py import h5a, h5i, h5o, h5r

MAY_DIFFER = {"seconds"}
# References between datasets: what they point at is checked by name through the scales.
REFERENCES = {"DIMENSION_LIST", "REFERENCE_LIST"}


def bits(values):
    """Something that compares equal exactly when all bits are equal, NaN included."""
    array = numpy.asarray(values)
    if array.dtype.kind in "OSU":
        return [x.encode() if isinstance(x, str) else x for x in array.ravel().tolist()]
    return array.tobytes()


def attributes(item):
    """{name: (type, shape, bits)}, by HDF5's own calls: a result has 600, and h5py's take several times as long."""
    out = {}
    for at in range(h5a.get_num_attrs(item.id)):
        attribute = h5a.open(item.id, index=at)
        name = attribute.name.decode()
        if name not in REFERENCES:
            values = numpy.empty(attribute.shape, attribute.dtype)
            attribute.read(values)
            out[name] = attribute.dtype.str, attribute.shape, bits(values)
        else:
            out[name] = None
    return out


def address(item_id):
    return h5o.get_info(item_id).addr


def dimension_names(dataset, names):
    """Names by place in the file: HDF5 looks for the name of what a reference leads to through the whole file, each time."""
    scales = dataset.attrs["DIMENSION_LIST"] if "DIMENSION_LIST" in dataset.attrs else []
    leads_to = [[h5r.dereference(reference, dataset.id) for reference in dimension] for dimension in scales]
    return [[names.get(address(scale)) or h5i.get_name(scale) for scale in dimension] for dimension in leads_to]


class Dataset:
    """All of a dataset that is compared."""

    def __init__(self, name, item, names):
        self.kind, self.attributes, self.scales = f"{item.dtype} {item.shape}", attributes(item), dimension_names(item, names)
        self.values = None if name in MAY_DIFFER or not item.size else bits(item[()])


@functools.lru_cache(2)  # one truth is often compared with many results
def read(path, *_):
    """Attributes of the file, and {name: Dataset, None for a group}."""
    with h5py.File(path, "r") as file:
        items = {name: file[name] for name in file if name != "run"}
        names = {address(item.id): name for name, item in items.items()}
        return attributes(file["/"]), {name: Dataset(name, item, names) if isinstance(item, h5py.Dataset) else None
                                  for name, item in items.items()}


def look(path):
    seen = os.stat(path)
    return read(str(path), seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)


def attribute_differences(name, a, b):
    found = [f"{name}: attributes {sorted(set(a) ^ set(b))} are in one file only"] if set(a) != set(b) else []
    return found + [f"{name}: attribute '{key}' differs" for key in sorted(set(a) & set(b)) if a[key] != b[key]]


def dataset_differences(name, a, b):
    if a.kind != b.kind:
        return [f"{name}: {a.kind} and {b.kind}"]
    found = attribute_differences(name, a.attributes, b.attributes)
    if a.scales != b.scales:
        found.append(f"{name}: dimension scales differ")
    if a.values != b.values:
        count = f" in {sum(x != y for x, y in zip(a.values, b.values))} bytes" if isinstance(a.values, bytes) else ""
        found.append(f"{name}: values differ{count}")
    return found


def differences(path_a, path_b):
    (top_a, items_a), (top_b, items_b) = look(path_a), look(path_b)
    found = attribute_differences("/", top_a, top_b)
    found += [f"{name}: is in one file only" for name in sorted(set(items_a) ^ set(items_b))]
    for name in sorted(set(items_a) & set(items_b)):
        one, two = items_a[name], items_b[name]
        if one is not None and two is not None:
            found += dataset_differences(name, one, two)
        elif one is not None or two is not None:
            found.append(f"{name}: is a group in one file and a dataset in the other")
    return found


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    found = differences(sys.argv[1], sys.argv[2])
    print("\n".join(found) if found else "equal")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
