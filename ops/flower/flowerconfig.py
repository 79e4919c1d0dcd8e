"""How does Flower show Leasebox: which Redis, who may look, and what may they do? Nothing but look.

    celery flower --conf=ops/flower/flowerconfig.py

Flower reads the names below as its options, after its own variables `FLOWER_*`, which therefore stand only where they
are asked for here. It is not given a result backend: results hold what programs wrote.

| variable | |
|---|---|
| `LEASEBOX_URL` or `LEASEBOX_URL_FILE` | the Redis, as for API and workers |
| `FLOWER_BASIC_AUTH_FILE` or `FLOWER_BASIC_AUTH` | `user:password`, several by commas; none = no start |
| `FLOWER_ADDRESS`, `FLOWER_PORT` | 127.0.0.1, 5555 |
"""

import os
from pathlib import Path


def _secret(name: str) -> str:
    path = os.environ.get(f"{name}_FILE")
    found = Path(path).read_text().strip() if path else os.environ.get(name, "")
    if not found:
        raise SystemExit(f"flower: set {name} or {name}_FILE")
    return found


# Celery looks at this variable whenever it connects. On a command line the password would be seen by `ps`.
os.environ["CELERY_BROKER_URL"] = _secret("LEASEBOX_URL").replace("unix://", "redis+socket://")

address = os.environ.get("FLOWER_ADDRESS", "127.0.0.1")
port = int(os.environ.get("FLOWER_PORT", "5555"))
basic_auth = _secret("FLOWER_BASIC_AUTH").replace("\n", ",").split(",")
read_only = True
max_tasks = 20_000
purge_offline_workers = 3600
natural_time = False
tasks_columns = "uuid,state,args,kwargs,result,received,started,runtime,worker,retries"
# From a cell that takes milliseconds to a job of an hour.
task_runtime_metric_buckets = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 1800.0, 3600.0]
