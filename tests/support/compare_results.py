"""compare_results.py A.h5 B.h5: are two results equal bit for bit, dataset by dataset, with types, shapes and attributes?

Left out: /run and the dataset `seconds`, the only things that may differ between two runs of one job. Exit code 0 or 1.
"""
import sys

import h5py
import numpy

MAY_DIFFER = {"seconds"}
# References between datasets: what they point at is checked by name through the scales.
REFERENCES = {"DIMENSION_LIST", "REFERENCE_LIST"}


def bits(values):
    """Something that compares equal exactly when all bits are equal, NaN included."""
    array = numpy.asarray(values)
    if array.dtype.kind in "OSU":
        return [x.encode() if isinstance(x, str) else x for x in array.ravel().tolist()]
    return array.tobytes()


def attribute_differences(name, a, b):
    found = []
    if set(a.attrs) != set(b.attrs):
        found.append(f"{name}: attributes {sorted(set(a.attrs) ^ set(b.attrs))} are in one file only")
    for key in sorted(set(a.attrs) & set(b.attrs) - REFERENCES):
        one, two = numpy.asarray(a.attrs[key]), numpy.asarray(b.attrs[key])
        if one.dtype != two.dtype or one.shape != two.shape or bits(one) != bits(two):
            found.append(f"{name}: attribute '{key}' differs")
    return found


def address(item):
    return h5py.h5o.get_info(item.id).addr


def dimension_names(dataset, names):
    """Names by place in the file: HDF5 looks for the name of what a reference leads to through the whole file, each time."""
    return [[names.get(address(scale)) or scale.name for scale in dimension.values()] for dimension in dataset.dims]


def dataset_differences(name, a, b, names_a, names_b):
    if a.dtype != b.dtype or a.shape != b.shape:
        return [f"{name}: {a.dtype} {a.shape} and {b.dtype} {b.shape}"]
    found = attribute_differences(name, a, b)
    if dimension_names(a, names_a) != dimension_names(b, names_b):
        found.append(f"{name}: dimension scales differ")
    if name not in MAY_DIFFER and a.size > 0 and bits(a[()]) != bits(b[()]):
        first, second = numpy.asarray(a[()]), numpy.asarray(b[()])
        count = "" if first.dtype.kind == "O" else f" in {numpy.count_nonzero(first.view('u1') != second.view('u1'))} bytes"
        found.append(f"{name}: values differ{count}")
    return found


def differences(path_a, path_b):
    with h5py.File(path_a, "r") as a, h5py.File(path_b, "r") as b:
        found = attribute_differences("/", a, b)
        items_a, items_b = ({name: file[name] for name in file if name != "run"} for file in (a, b))
        found += [f"{name}: is in one file only" for name in sorted(set(items_a) ^ set(items_b))]
        names_a, names_b = ({address(item): name for name, item in items.items()} for items in (items_a, items_b))
        for name in sorted(set(items_a) & set(items_b)):
            one, two = items_a[name], items_b[name]
            if isinstance(one, h5py.Dataset) and isinstance(two, h5py.Dataset):
                found += dataset_differences(name, one, two, names_a, names_b)
            elif isinstance(one, h5py.Dataset) or isinstance(two, h5py.Dataset):
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
