"""check_xarray.py RESULT.h5: xarray opens the file through both engines with named dimensions, coordinates and units."""
import sys

import numpy
import xarray

SCALES = ["case", "layer", "obs", "prompt", "slot", "vindex", "payload", "projection"]
SHAPES = {
    "cos": ("case", "layer", "obs"),
    "obs_status": ("case", "layer", "obs"),
    "x_norm": ("layer", "obs"),
    "label": ("case", "layer", "prompt"),
    "bytes_read": ("case", "layer"),
    "topk_id": ("case", "prompt", "slot"),
    "row_err_p99": ("vindex", "payload", "layer", "projection"),
    "case_name": ("case",),
    "topk_text": ("case", "prompt", "slot"),
    "min_cos": ("case",),
    "layer_min_cos_at_obs": ("case", "layer"),
    "obs_kl": ("case", "obs"),
    "obs_ref_margin": ("obs",),
    "ppl_ratio_upper": ("case",),
}


def check(path, engine):
    problems = []
    with xarray.open_dataset(path, engine=engine) as data:
        for scale in SCALES:
            if scale not in data.coords:
                problems.append(f"no coordinate {scale}")
            elif data[scale].values.tolist() != list(range(data.sizes[scale])):
                problems.append(f"coordinate {scale} does not count from 0")
        for name, dims in SHAPES.items():
            if name not in data or data[name].dims != dims:
                problems.append(f"{name}: {data[name].dims if name in data else 'missing'}, expected {dims}")
        for name, variable in data.variables.items():
            if any(dim not in SCALES + ["offer", "choice", "expert"] for dim in variable.dims):
                problems.append(f"{name}: unnamed dimension in {variable.dims}")
            for attribute in ("long_name", "units"):
                if not variable.attrs.get(attribute):
                    problems.append(f"{name}: no {attribute}")
            if "flag_values" in variable.attrs:
                values = numpy.atleast_1d(variable.attrs["flag_values"])
                if len(values) != len(variable.attrs["flag_meanings"].split()):
                    problems.append(f"{name}: flag_values and flag_meanings differ in length")
        if data["obs_status"].dtype != numpy.int8 or data["top1_id"].dtype != numpy.int32:
            problems.append("integers were turned into another type")
        if data["cos"].dtype != numpy.float64:
            problems.append("cos is not f64")
        if not all(isinstance(name, str) for name in data["case_name"].values):
            problems.append("case_name holds no strings")
        data.load()
    return [f"{engine}: {problem}" for problem in problems]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    problems = check(sys.argv[1], "h5netcdf") + check(sys.argv[1], "netcdf4")
    print("\n".join(problems) if problems else "both engines read it")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
