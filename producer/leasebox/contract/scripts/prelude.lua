-- Prelude: put before every script by the loader; PROTOCOL.md (b), "Shared prelude".
-- ARGV[1]  names: prefixes and endings of keys (keys.py). No key text stands in Lua.
--
-- Reads come first, and see what this script has already decided, because records are loaded once into `jobs` and
-- `lines`. Writes are only collected; `commit` checks the type of every key and then makes them all, so that a script
-- that fails has written nothing.

local call = redis.call
local K = cjson.decode(ARGV[1])
local clock = call('TIME')
local now_us = clock[1] * 1000000 + clock[2]
local now = now_us / 1000000                      -- a score; equals the stamp of a message exactly
local NOW = string.format('%.6f', now)            -- the same for people
local BOUND = 64                                  -- lines or jobs that one call may change

local function num(value) return tonumber(value) or 0 end
local function given(value) return value and value ~= '' end

-- Writes.

local TYPE_OF = {
  HSET = 'hash', HDEL = 'hash', ZADD = 'zset', ZREM = 'zset', ZREMRANGEBYRANK = 'zset', SADD = 'set', SREM = 'set',
  HSETNX = 'hash', HINCRBYFLOAT = 'hash', ZINCRBY = 'zset', LPUSH = 'list', RPUSH = 'list', LREM = 'list',
  LPOP = 'list', XADD = 'stream', XTRIM = 'stream', INCRBY = 'string', HINCRBY = 'hash',
}
local writes, checked, sets = {}, {}, {}

local function write(...) writes[#writes + 1] = {...} end

local function commit()
  for i = 1, #writes do
    local kind, key = TYPE_OF[writes[i][1]], writes[i][2]
    if kind and checked[key] ~= kind then
      local found = call('TYPE', key).ok
      if found ~= 'none' and found ~= kind then
        error({err = 'WRONGTYPE ' .. key .. ' holds a ' .. found .. ', not a ' .. kind})
      end
      checked[key] = kind
    end
  end
  for i = 1, #writes do call(unpack(writes[i])) end
end

-- Change a record; all changes of one record are one command.
local function set(record, ...)
  local fields, command = {...}, sets[record.key]
  if not command then
    command = {'HSET', record.key}
    sets[record.key] = command
    writes[#writes + 1] = command
  end
  local n = #command
  for i = 1, #fields, 2 do
    record[fields[i]] = fields[i + 1]
    command[n + i], command[n + i + 1] = fields[i], fields[i + 1]
  end
end

-- Records.

local JOB = {
  'state', 'lease', 'line', 'tenant', 'session', 'node', 'claims', 'starts', 'runs', 'retries', 'not_before',
  'cancel_requested', 'priority', 'queue', 'profile', 'batch', 'must_exist', 'expires_at', 'kind', 'sandbox',
  'submitted_at', 'claimed_at', 'parked', 'outcome', 'end_lease', 'seq', 'told', 'idem', 'blobs', 'callback',
  'result_ttl_s', 'events_ttl_s', 'digest', 'stdin_open', 'settled', 'frame', 'own_limits',
}
local SESSION = {
  'state', 'profile', 'node', 'sandbox', 'generation', 'closing', 'close_reason', 'created_at', 'used_at', 'age_from',
  'idle_timeout_s', 'max_age_s', 'executions', 'last_exit_code', 'ran', 'lost_reason', 'tenant',
}
local jobs, lines = {}, {}

local function load(key, fields)
  local values = call('HMGET', key, unpack(fields))
  local record = {key = key}
  for i = 1, #fields do record[fields[i]] = values[i] end
  checked[key] = 'hash'
  return record
end

local function load_job(id)
  local j = jobs[id]
  if not j then
    j = load(K.job .. id, JOB)
    j.id = id
    jobs[id] = j
  end
  return j
end

local function load_session(id)
  local line = lines[id]
  if not line then
    line = load(K.session .. id, SESSION)
    line.id, line.is_session, line.pending, line.ended, line.at = id, true, K.session .. id .. K.pending, {}, 0
    lines[id] = line
  end
  return line
end

-- A session, or a job without one as a line of its own, whose sandbox is used once.
local function line_of(j)
  if j.line ~= j.id then return load_session(j.line) end
  local line = lines[j.id]
  if not line then
    line = {id = j.id, job = j}
    lines[j.id] = line
  end
  return line
end

local function head_of(line)
  if line.job then return line.job.state ~= 'finished' and line.job end
  while line.head == nil or (line.head and line.ended[line.head.id]) do
    local id = call('LINDEX', line.pending, line.at)
    checked[line.pending] = 'list'
    line.head = id and load_job(id)
    if line.head and not line.head.state then     -- a pending job without a record: nothing can end it
      write('LREM', line.pending, 1, id)
      line.ended[id] = true
    end
    line.at = line.at + 1
  end
  return line.head
end

local function holds(j, lease) return (j.state == 'starting' or j.state == 'running') and j.lease == lease end

local function event(j, kind, json, id)
  local key = K.job .. j.id .. K.events
  write('XADD', key, 'NOMKSTREAM', id or (num(j.claims) .. '-*'), 'type', kind, 'at', NOW, 'json', json)
  write('PUBLISH', K.bell, j.id)
end

-- Lines: who is runnable, and who wakes them.

local function is_runnable(line)
  local head = head_of(line)
  return head and head.state == 'queued' and not given(line.closing)
end

local function class_of(j) return K.class .. j.priority end

local function queue_of(line, head)
  if line.is_session and given(line.sandbox) and given(line.node) then
    return K.node_class .. line.node .. K.dot .. head.priority
  end
  return class_of(head)
end

-- Take a line out of where its queued head made it wait.
local function leave(line, head)
  if given(head.parked) then
    write('ZREM', K.tenant .. head.tenant .. K.parked, line.id)
    set(head, 'parked', '')
  elseif given(head.queue) then
    write('ZREM', K.queue .. head.queue .. K.waiting, line.id)
  end
end

-- Let `waiting` tell the truth about a line, and wake its queue if it is runnable. Answers the queue, or ''.
local function rouse(line)
  local head = head_of(line)
  if not is_runnable(line) then
    if head and head.state == 'queued' then leave(line, head) end
    return ''
  end
  local queue = queue_of(line, head)
  if given(head.parked) or head.queue ~= queue then
    leave(line, head)
    set(head, 'queue', queue)
  end
  local waits_until = num(head.not_before)
  if waits_until > now then                       -- in back-off: script expire wakes it then
    write('ZADD', K.queue .. queue .. K.waiting, waits_until, line.id)
    write('ZADD', K.deferred, waits_until, line.id)
    return ''
  end
  local wake = head.wake or call('HMGET', head.key, 'wake_head', 'wake_tail')
  write('ZADD', K.queue .. queue .. K.waiting, now, line.id)
  write('LPUSH', queue, (wake[1] or '') .. head.id .. '.' .. string.format('%.0f', now_us) .. (wake[2] or ''))
  return queue
end

-- Sandboxes.

local function expires_at(line)
  return math.min(num(line.used_at) + num(line.idle_timeout_s), num(line.age_from) + num(line.max_age_s))
end

-- The session is free; say when it may end.
local function rest(line)
  local has_sandbox = given(line.sandbox)
  set(line, 'state', has_sandbox and 'idle' or 'new', 'used_at', NOW)
  if has_sandbox then write('ZADD', K.node .. line.node .. K.expiry, expires_at(line), line.id)
  else write('ZADD', K.unbound, expires_at(line), line.id) end
end

-- The session has no sandbox any more; the next bind tells the job why, if code had run in it. Answers what to kill.
local function detach(line, reason)
  local sandbox = line.sandbox
  if not given(sandbox) then return '' end
  local base = K.node .. line.node
  write('SREM', base .. K.sessions, line.id)
  write('ZREM', base .. K.expiry, line.id)
  local lost_reason = given(line.ran) and reason or line.lost_reason or ''
  set(line, 'sandbox', '', 'node', '', 'ran', '', 'lost_reason', lost_reason)
  return sandbox
end

-- Its sandbox is gone with its node. The caller rouses the line: its queue is another one now.
local function lose(line, reason)
  detach(line, reason)
  if line.state ~= 'idle' then return end
  set(line, 'state', 'new')
  write('ZADD', K.unbound, expires_at(line), line.id)
end

-- Why the state that the job expects is gone, or nil. Code that asked for it (`must_exist`) must not start.
local function missing_state(line, why)
  if not line.is_session then return nil end
  if given(line.sandbox) and given(line.ran) then return why end
  return given(line.lost_reason) and line.lost_reason or nil
end

local function bind(line, j, node, sandbox, why)
  if not line.is_session then
    set(j, 'sandbox', sandbox)
    return 1
  end
  local reason = missing_state(line, why)
  detach(line, why)
  local generation = num(line.generation) + 1
  set(line, 'sandbox', sandbox, 'node', node, 'generation', generation, 'state', 'busy')
  write('SADD', K.node .. node .. K.sessions, line.id)
  write('ZREM', K.unbound, line.id)
  if reason and not given(j.told) then
    event(j, 'session_restarted', '{"reason":' .. cjson.encode(reason) .. '}')
    set(j, 'told', '1')
  end
  return generation
end

-- The session is over; its record stays as a tombstone. Jobs that came while it was closing open the next generation.
local function close_session(line, reason, tombstone_s)
  local kill = detach(line, reason)
  if head_of(line) then
    set(line, 'state', 'new', 'closing', '', 'close_reason', '', 'age_from', NOW)
    return kill
  end
  set(line, 'state', 'closed', 'closing', '', 'close_reason', reason, 'closed_at', NOW)
  write('SREM', K.tenant .. line.tenant .. K.sessions, line.id)
  write('ZREM', K.unbound, line.id)
  write('EXPIRE', line.key, tombstone_s)
  return kill
end

-- Quotas.

local limits = {}

local function limits_of(tenant)
  if not limits[tenant] then
    local texts = call('HMGET', K.tenants, tenant, 'default')
    local text = texts[1] or texts[2]
    limits[tenant] = text and cjson.decode(text) or {}
  end
  return limits[tenant]
end

-- Is `bound` reached by the members of a set, of which `leaving` are about to go?
local function is_full(bound, key, leaving)
  return type(bound) == 'number' and call('SCARD', key) - (leaving or 0) >= bound
end

-- The tenant runs as many jobs as it may: the line waits for the end of one. In the order of submit, so that a line that
-- was woken and found the tenant full again keeps its place.
local function park(line, head)
  leave(line, head)
  write('ZADD', K.tenant .. head.tenant .. K.parked, num(head.submitted_at), line.id)
  write('SADD', K.parking, head.tenant)
  set(head, 'parked', '1')
end

local function runs_enough(tenant) return is_full(limits_of(tenant).running, K.tenant .. tenant .. K.running) end

-- Claims.

local function claim(line, j, node, lease, start_timeout_s)
  leave(line, j)
  set(j, 'state', 'starting', 'lease', lease, 'node', node, 'claims', num(j.claims) + 1, 'claimed_at', NOW,
    'seq', 15, 'frame', '')                       -- seq: up to 15 is for events of scripts
  write('ZADD', K.node .. node .. K.claims, now + start_timeout_s, j.id)
  write('SREM', K.tenant .. j.tenant .. K.queued, j.id)
  write('SADD', K.tenant .. j.tenant .. K.running, j.id)
  write('SREM', K.queue .. class_of(j) .. K.queued, j.id)
  if not line.is_session then return end
  if given(line.sandbox) then
    write('ZREM', K.node .. node .. K.expiry, line.id)
    set(line, 'state', 'busy')
  else
    set(line, 'state', 'starting')
  end
end

-- What a worker must know to run its claim; read by worker.py, in this order. The last is the sandbox, or ''.
local function work(line, j)
  local extra = call('HMGET', j.key, 'spec', 'metadata', 'contract_version', 'display_name', 'stdin_open',
    'traceparent')
  local session = line.is_session and line or {}
  local lost = j.must_exist == '1' and missing_state(line, 'lost')
  return {
    j.id, extra[1], j.kind, j.tenant, j.session, j.profile, num(j.claims), num(j.runs), num(j.starts), j.lease,
    j.cancel_requested or '', num(session.generation), j.must_exist, j.retries, j.submitted_at, j.claimed_at, j.queue,
    extra[2], session.idle_timeout_s or '', session.max_age_s or '', extra[3], extra[4] or '', extra[5],
    extra[6] or '', lost and not given(line.sandbox) and lost or '',
    (line.is_session and line.sandbox or j.sandbox) or '',
  }
end
