"""Which keys does an installation use in Redis, what is in each, who owns it, and when does it go?

No other module and no script writes key text: scripts get `Keys.names` (prefixes and endings) as ARGV[1].

| key (prefix `lb`) | type | content | owner: how it goes |
|---|---|---|---|
| `lb:job:{id}` | hash | the record | job: `result_ttl_s` after its end |
| `lb:job:{id}:events` | stream | events, ids `<claims>-<seq>` | job: `events_ttl_s` after its end |
| `lb:job:{id}:stdin` | stream | input not yet taken | job: `events_ttl_s` after its end |
| `celery-task-meta-{id}` | string | Result in Celery's format | TTL `result_ttl_s` |
| `lb:idem:{tenant}:{key}` | string | job id, digest | job: `result_ttl_s` after its end |
| `lb:job:{id}:artifact:{sha256}` | string | a file kept after the job | TTL `result_ttl_s` |
| `lb:blob:{tenant}/{sha256}` | string | file contents | TTL 1 h, none while a job needs it |
| `lb:blob:{tenant}/{sha256}:jobs` | set | jobs that need it | the last of them |
| `lb:queue:{q}:waiting` | zset | runnable lines -> last woken, or not before | the lines |
| `lb:queue:{q}:queued` | set | queued jobs of a class | the jobs |
| `lb:deferred` | zset | lines in back-off -> not before (a hint) | script expire |
| `lb:expiring` | zset | jobs -> `expires_at` | the jobs |
| `lb:session:{tenant}/{s}` | hash | the session | closed: `tombstone_ttl_s` |
| `lb:session:{tenant}/{s}:pending` | list | jobs in order of submit | the jobs |
| `lb:session:{tenant}/{s}:metrics` | stream | the last measurement of its sandbox | TTL 60 s |
| `lb:unbound` | zset | idle sessions without a sandbox -> when they may end | script expire |
| `lb:nodes` | zset | node -> heartbeat counter | script forget |
| `lb:node:{n}` | hash | incarnation, driver, slots, ... | script forget |
| `lb:node:{n}:claims` | zset | claimed jobs -> deadline | the jobs |
| `lb:node:{n}:sessions` | set | sessions whose sandbox is here | the sessions |
| `lb:node:{n}:expiry` | zset | idle sessions -> when they may be swept | the sessions |
| `lb:node:{n}:pool:{inc}:{profile}` | list | warm sandboxes | scripts adopt, forget |
| `lb:node:{n}:pools` | set | `{inc}:{profile}` of each pool | scripts adopt, forget |
| `lb:node:{n}:control` | stream | cancel, close, measure, drain | script forget; 1,000 entries |
| `lb:tenant:{t}:queued`, `:running`, `:sessions` | set | what counts against quotas | jobs, sessions |
| `lb:tenant:{t}:parked` | zset | runnable lines of a full tenant -> when their heads were submitted | the lines |
| `lb:parking` | set | tenants that may have parked lines | script expire |
| `lb:tenant:{t}:recent` | zset | last 10,000 jobs -> `submitted_at` | bounded |
| `lb:tenant:{t}:usage:{day}` | hash | `cpu_s`, `bytes` of a UTC day | TTL 2 days |
| `lb:tenant:{t}:submits:{minute}` | string | how many | TTL 2 min |
| `lb:batch:{id}`, `:jobs`, `:events` | hash, list, stream | a batch | `result_ttl_s` after its end |
| `lb:batches` | zset | unsealed batches -> last submit, or when they were made | script seal |
| `lb:ended` | hash | `{class}/{outcome}` -> how many jobs have ended so, ever | installation |
| `lb:webhook:due` | zset | the outbox: job id, or the key of a batch or test -> when | script webhook_settle |
| `lb:webhook:log:{member}` | stream | the last 100 deliveries of a member of the outbox | with its record |
| `lb:webhook:test:{id}` | hash | a delivery that somebody asked for, to try a receiver | TTL 10 min |
| `lb:profiles`, `lb:tenants`, `lb:settings` | hash | published by nodes | installation |
| `lb:key:{id}`, `lb:keys` | hash, set | an API key, without its secret; ids of all | installation |
| `lb:audit` | stream | audit chain | installation; the newest 100,000 entries |
| `lb:audit:head` | hash | its last entry, and the last one that was cut off | installation |
| `lb:requests:...` | string | requests of an API key in a minute, of the library `limits` | TTL 2 min |
| `lb:installation` | string | id, in the labels of sandboxes | installation |
| `lb:telling` | string | the node that tells who watches Celery's events of all jobs | TTL 10 s |
| `lb:bell` | channel | id of a job or batch that has new events, or was queued again | - |
| `leasebox.{class}`, `leasebox.node.{n}.{class}` | list | wake-ups, in Celery's format | consumed; script forget |
| `_kombu.binding.{queue}`, `_kombu.binding_permanent.{queue}` | set | kombu's, per queue | of a node: script forget |
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property

PRIORITIES = ("interactive", "default", "batch")


@dataclass(frozen=True)
class Keys:
    """Makes every key of one installation.

    Args:
        prefix: Of our own keys.
        queue_prefix: Of the names of the Celery queues.
    """

    prefix: str = "lb"
    queue_prefix: str = "leasebox"

    @cached_property
    def names(self) -> bytes:
        """ARGV[1] of every script: the prefixes and endings from which Lua makes keys, as JSON."""
        p, q = self.prefix, self.queue_prefix
        return json.dumps(
            {
                "job": f"{p}:job:", "events": ":events", "stdin": ":stdin", "meta": "celery-task-meta-",
                "idem": f"{p}:idem:", "blob": f"{p}:blob:", "jobs": ":jobs",
                "queue": f"{p}:queue:", "waiting": ":waiting", "queued": ":queued",
                "deferred": f"{p}:deferred", "expiring": f"{p}:expiring", "unbound": f"{p}:unbound",
                "session": f"{p}:session:", "pending": ":pending", "metrics": ":metrics",
                "nodes": f"{p}:nodes", "node": f"{p}:node:", "claims": ":claims", "sessions": ":sessions",
                "expiry": ":expiry", "pool": ":pool:", "pools": ":pools", "control": ":control",
                "tenant": f"{p}:tenant:", "running": ":running", "parked": ":parked", "recent": ":recent",
                "usage": ":usage:", "submits": ":submits:", "parking": f"{p}:parking",
                "batch": f"{p}:batch:", "batches": f"{p}:batches", "webhook": f"{p}:webhook:due",
                "ended": f"{p}:ended", "webhook_log": f"{p}:webhook:log:",
                "tenants": f"{p}:tenants", "settings": f"{p}:settings", "bell": f"{p}:bell",
                "class": f"{q}.", "node_class": f"{q}.node.", "dot": ".", "colon": ":",
                "binding": "_kombu.binding.", "binding_permanent": "_kombu.binding_permanent.",
            },
            separators=(",", ":"),
        ).encode()  # fmt: skip

    def line(self, job: str, tenant: str, session: str | None) -> str:
        """The name of the job's line: its session's, or the job's own id."""
        return f"{tenant}/{session}" if session else job

    def job(self, job: str) -> str:
        """The record of a job."""
        return f"{self.prefix}:job:{job}"

    def events(self, job: str) -> str:
        """The stream of a job's events."""
        return f"{self.prefix}:job:{job}:events"

    def stdin(self, job: str) -> str:
        """The stream of a job's input that was not taken yet."""
        return f"{self.prefix}:job:{job}:stdin"

    def artifact(self, job: str, name: str) -> str:
        """Of a file that a job left, by its SHA-256; while it is written, by the lease of its writer."""
        return f"{self.prefix}:job:{job}:artifact:{name}"

    def meta(self, job: str) -> str:
        """Where Celery's Redis result backend looks; no prefix of ours."""
        return f"celery-task-meta-{job}"

    def idem(self, tenant: str, key: str) -> str:
        """The job that a tenant's idempotency key stands for."""
        return f"{self.prefix}:idem:{tenant}:{key}"

    def blob(self, blob: str) -> str:
        """The content of an uploaded file."""
        return f"{self.prefix}:blob:{blob}"

    def blob_jobs(self, blob: str) -> str:
        """The jobs that need an uploaded file."""
        return f"{self.prefix}:blob:{blob}:jobs"

    def queue(self, priority: str, node: str | None = None) -> str:
        """The Celery queue of a class: the shared one, or a node's own."""
        return f"{self.queue_prefix}.node.{node}.{priority}" if node else f"{self.queue_prefix}.{priority}"

    def waiting(self, queue: str) -> str:
        """The runnable lines of a queue."""
        return f"{self.prefix}:queue:{queue}:waiting"

    def queued(self, queue: str) -> str:
        """The queued jobs of a class; `queue` is the shared queue's name."""
        return f"{self.prefix}:queue:{queue}:queued"

    def deferred(self) -> str:
        """The lines in back-off, of all queues."""
        return f"{self.prefix}:deferred"

    def expiring(self) -> str:
        """The queued jobs that end by themselves if they do not start in time."""
        return f"{self.prefix}:expiring"

    def session(self, tenant: str, session: str) -> str:
        """The record of a session."""
        return f"{self.prefix}:session:{tenant}/{session}"

    def session_line(self, line: str) -> str:
        """The session's key from its line's name, `tenant/session`."""
        return f"{self.prefix}:session:{line}"

    def pending(self, tenant: str, session: str) -> str:
        """The jobs of a session's line, in the order of their submit."""
        return f"{self.prefix}:session:{tenant}/{session}:pending"

    def metrics(self, line: str) -> str:
        """What was measured last of a session, by its line."""
        return f"{self.prefix}:session:{line}:metrics"

    def unbound(self) -> str:
        """The idle sessions that have no sandbox."""
        return f"{self.prefix}:unbound"

    def nodes(self) -> str:
        """The heartbeat counters of all nodes."""
        return f"{self.prefix}:nodes"

    def node(self, node: str) -> str:
        """The record of a node."""
        return f"{self.prefix}:node:{node}"

    def claims(self, node: str) -> str:
        """The jobs that a node holds."""
        return f"{self.prefix}:node:{node}:claims"

    def node_sessions(self, node: str) -> str:
        """The sessions whose sandbox is on a node."""
        return f"{self.prefix}:node:{node}:sessions"

    def expiry(self, node: str) -> str:
        """When the idle sessions of a node may be swept."""
        return f"{self.prefix}:node:{node}:expiry"

    def pool(self, node: str, incarnation: str, profile: str) -> str:
        """The warm sandboxes of one profile that an incarnation made."""
        return f"{self.prefix}:node:{node}:pool:{incarnation}:{profile}"

    def pools(self, node: str) -> str:
        """The pools of a node, of all its incarnations."""
        return f"{self.prefix}:node:{node}:pools"

    def control(self, node: str) -> str:
        """What a node is told to do."""
        return f"{self.prefix}:node:{node}:control"

    def tenant_queued(self, tenant: str) -> str:
        """The queued jobs of a tenant."""
        return f"{self.prefix}:tenant:{tenant}:queued"

    def tenant_running(self, tenant: str) -> str:
        """The running jobs of a tenant."""
        return f"{self.prefix}:tenant:{tenant}:running"

    def tenant_sessions(self, tenant: str) -> str:
        """The live sessions of a tenant."""
        return f"{self.prefix}:tenant:{tenant}:sessions"

    def parked(self, tenant: str) -> str:
        """The lines of a tenant that wait for its own quota."""
        return f"{self.prefix}:tenant:{tenant}:parked"

    def parking(self) -> str:
        """The tenants that may have parked lines."""
        return f"{self.prefix}:parking"

    def recent(self, tenant: str) -> str:
        """The newest jobs of a tenant."""
        return f"{self.prefix}:tenant:{tenant}:recent"

    def usage(self, tenant: str, day: int) -> str:
        """What a tenant used on a UTC day, counted in days since 1970."""
        return f"{self.prefix}:tenant:{tenant}:usage:{day}"

    def batch(self, batch: str) -> str:
        """The record of a batch."""
        return f"{self.prefix}:batch:{batch}"

    def batch_jobs(self, batch: str) -> str:
        """The jobs of a batch."""
        return f"{self.prefix}:batch:{batch}:jobs"

    def batch_events(self, batch: str) -> str:
        """The stream of a batch's events."""
        return f"{self.prefix}:batch:{batch}:events"

    def batches(self) -> str:
        """The batches that still take jobs."""
        return f"{self.prefix}:batches"

    def ended(self) -> str:
        """How many jobs have ended, by class and outcome."""
        return f"{self.prefix}:ended"

    def webhook_due(self) -> str:
        """The deliveries that are due, and when."""
        return f"{self.prefix}:webhook:due"

    def webhook_log(self, member: str) -> str:
        """The stream of a delivery's attempts, by its member of the outbox."""
        return f"{self.prefix}:webhook:log:{member}"

    def webhook_test(self, test: str) -> str:
        """The record of a delivery that tries a receiver; itself the member of the outbox, as a batch's key is."""
        return f"{self.prefix}:webhook:test:{test}"

    def profiles(self) -> str:
        """The profiles that nodes published."""
        return f"{self.prefix}:profiles"

    def tenants(self) -> str:
        """The quotas that nodes published."""
        return f"{self.prefix}:tenants"

    def settings(self) -> str:
        """What the operator allows sessions and queues, by name: `worker.config`."""
        return f"{self.prefix}:settings"

    def api_key(self, key: str) -> str:
        """What is known of an API key."""
        return f"{self.prefix}:key:{key}"

    def api_keys(self) -> str:
        """The ids of all API keys."""
        return f"{self.prefix}:keys"

    def requests(self) -> str:
        """What the library `limits` puts before its keys, which count the requests of API keys."""
        return f"{self.prefix}:requests"

    def audit(self) -> str:
        """The stream of the audit chain."""
        return f"{self.prefix}:audit"

    def audit_head(self) -> str:
        """Where the audit chain ends, and where what is kept of it begins."""
        return f"{self.prefix}:audit:head"

    def installation(self) -> str:
        """The id of this installation; made by the first node."""
        return f"{self.prefix}:installation"

    def telling(self) -> str:
        """Which node tells Flower of all jobs."""
        return f"{self.prefix}:telling"

    def bell(self) -> str:
        """The channel on which jobs with new events are called out."""
        return f"{self.prefix}:bell"
