"""Run by test_ray.py: mines on a cluster of two nodes on this machine.

    ray_mine.py VIDEOS OUT calm|lose

With `lose`, the second node and its workers are killed, after the first part is there and
while one of them writes another. The last line printed is a JSON object: what the run said of
itself, and how many workers were killed while they wrote (torn).
"""

import json
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from ray.cluster_utils import Cluster

from toolkit.mining.settings import MiningSettings
from toolkit.mining.work.run import How, mine

NODE = {"num_cpus": 1, "object_store_memory": 80 << 20}


def lose(node, out, torn):
    while not any(out.glob(".parts/*/*.json")):
        time.sleep(0.01)
    raylet = node.all_processes["raylet"][0].process.pid
    workers = children(raylet)
    while not torn:
        drafts = [path.name.split(".")[3] for path in out.glob(".parts/*/.*.tar.*")]
        torn += {int(owner.split("-")[1]) for owner in drafts} & set(workers)
    for process in [raylet, *workers]:
        os.kill(process, signal.SIGKILL)


def children(parent):
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(path.parent.name))
    return found


def main():
    videos, out, mode = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    cluster = Cluster(initialize_head=True, head_node_args=NODE | {"include_dashboard": False})
    second = cluster.add_node(**NODE)
    torn = []
    if mode == "lose":
        threading.Thread(target=lose, args=(second, out, torn), daemon=True).start()
    how = How(segment_s=2.0, ray=cluster.address)
    report = mine([videos], out, MiningSettings(gap_s=0.4), None, how)
    cluster.shutdown()
    told = {
        "videos": report.videos,
        "pairs": report.pairs,
        "notes": report.notes,
        "torn": len(torn),
        "quarantined": [item.reason for item in report.quarantined],
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
