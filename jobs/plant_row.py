"""plant_row.py VINDEX COPY LAYER PROJECTION ROW FROM: copy a K-quant vindex, row ROW of one matrix overwritten by row FROM.

A defect that leaves every number plausible: what jobs/demo.sh shows walkaudit finding.
"""
import json
import pathlib
import shutil
import sys

ORDER = ("gate", "up", "down")  # entry 3 * layer + c of the manifest


def main(source, copy, layer, projection, row, other):
    source, copy = pathlib.Path(source), pathlib.Path(copy)
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(source, copy)
    entries = json.loads((copy / "interleaved_kquant_manifest.json").read_text())
    entry = entries[3 * int(layer) + ORDER.index(projection)]
    rows = entry["shape"][0]
    size = entry["length"] // rows
    if not all(0 <= int(r) < rows for r in (row, other)):
        sys.exit(f"plant_row.py: rows {row} and {other}; {entry['key']}; expected rows below {rows}")
    with open(copy / "interleaved_kquant.bin", "r+b") as file:
        file.seek(entry["offset"] + int(other) * size)
        content = file.read(size)
        file.seek(entry["offset"] + int(row) * size)
        file.write(content)
    print(f"{copy}: {entry['key']}, row {row} is now row {other}")


if __name__ == "__main__":
    if len(sys.argv) != 7:
        sys.exit(__doc__)
    main(*sys.argv[1:])
