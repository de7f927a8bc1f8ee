"""No grid waits for ever when no message is small enough to be sent at once: every send then needs its receive first."""
import os
import re

import pytest

import harness
from harness import assert_equal_bits, corpus

PATHS = [{"path": "sparse"}, {"path": "full_mmap"}]
LAYERS = 4
# With one rank that has nothing to do, and without; WALKAUDIT_EVERY_GRID: with any number of them.
IDLE = 7 if os.environ.get("WALKAUDIT_EVERY_GRID") else 1
GRIDS = [(ranks, stages, teams) for ranks in range(1, 9) for stages in range(1, LAYERS + 1)
         for teams in range(1, len(PATHS) + 2) if 0 <= ranks - stages * teams <= IDLE]
LEAST = "64"  # of a fragment: room for Open MPI's own header, which takes no less, and for no byte of ours
# Each transport alone; tcp as between hosts, where a team shares no memory.
TRANSPORTS = {
    "tcp": {"WALKAUDIT_APART": "1", "OMPI_MCA_btl": "self,tcp",
            "OMPI_MCA_btl_tcp_eager_limit": LEAST, "OMPI_MCA_btl_tcp_rndv_eager_limit": LEAST,
            "OMPI_MCA_btl_tcp_if_include": "lo"},
    "vader": {"OMPI_MCA_btl": "self,vader", "OMPI_MCA_btl_vader_single_copy_mechanism": "none", "OMPI_MCA_btl_vader_eager_limit": LEAST,
              "OMPI_MCA_btl_vader_rndv_eager_limit": LEAST},
}
# Shared memory differs from tcp in how fragments travel, not in what waits for what: grids that fill their ranks are enough.
CASES = [(*grid, "tcp") for grid in GRIDS] + [(*grid, "vader") for grid in GRIDS if grid[0] == grid[1] * grid[2] > 1]
FOR_EVER = 240  # seconds: a run takes one or two, and on a busy machine longer
SELF = {"OMPI_MCA_btl_self_eager_limit": LEAST, "OMPI_MCA_btl_self_rndv_eager_limit": LEAST}


@pytest.fixture(scope="module")
def inputs(shop):
    return (shop.model("tiny-gemma3"), {"f16": shop.vindex("tiny-gemma3", "f16")},
            corpus(shop.root / "corpus.jsonl", 14))


def make(shop, inputs):
    model, vindexes, prompts = inputs
    return shop.job(model, vindexes, paths=PATHS, batch={"rows": 8}, prompts=prompts)


@pytest.fixture(scope="module")
def reference(shop, inputs):
    job = make(shop, inputs)
    job.run()
    return job


@pytest.mark.parametrize("ranks, stages, teams, transport", CASES)
def test_no_grid_needs_eager_messages(shop, inputs, reference, ranks, stages, teams, transport):
    job = make(shop, inputs)
    done = job.run(ranks=ranks, sets=(f"grid.stages={stages}", f"grid.teams={teams}"), limit=FOR_EVER,
                   **SELF, **TRANSPORTS[transport])
    assert re.search(rf" x {stages} stages? x {teams} teams?[;,]", done.stderr), done.stderr
    assert_equal_bits(reference, job)
