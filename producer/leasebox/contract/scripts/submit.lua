-- submit: accept a job, put it at the end of its line, and if it was empty wake the line's queue, or park the line.
-- KEYS    1 the job's record
-- ARGV    2 job  3 line  4 tenant  5 session or ''  6 session must exist ('1')  7 digest  8 idempotency key or ''
--         9 expires_in_s or ''  10 batch or ''  11 blobs (JSON list or '')  12 profile
--         13 idle_timeout_s or ''  14 max_age_s or ''  15 result_ttl_s  16 priority  17 wake_head  18 wake_tail
--         19... further fields of the record, name and value in turn
-- answer  accepted job position woken submits_per_minute left reset_s (the last three '' without such a bound)
--         | existing job state batch | conflict job | quota which retry_after bound | full retry_after queued bound
--         | profile_differs profile | refused reason | blob_gone blob | expired reason | beyond field bound
-- caller  client
-- Not allow-oom: at maxmemory nothing new is accepted (PROTOCOL.md flaw 24).

local id, line_id, tenant, is_session = ARGV[2], ARGV[3], ARGV[4], ARGV[5] ~= ''
local j = load_job(id)
if j.state then return j.digest == ARGV[7] and {'existing', id, j.state, j.batch or ''} or {'conflict', id} end

local idem = ARGV[8] ~= '' and K.idem .. tenant .. K.colon .. ARGV[8]
local known = idem and call('GET', idem)
if known then
  local other, digest = string.match(known, '^(%S+) (%S+)$')
  local earlier = other and load_job(other)
  if earlier and earlier.state then
    if digest ~= ARGV[7] then return {'conflict', other} end
    return {'existing', other, earlier.state, earlier.batch or ''}
  end
end

-- Batch, session and quotas: checks.
local batch = ARGV[10] ~= '' and load_batch(ARGV[10])
if batch and (batch.cancelled == '1' or batch.sealed == '1' or (batch.tenant and batch.tenant ~= tenant)) then
  return {'refused', 'batch_closed'}
end

local line = is_session and load_session(line_id) or {id = line_id, job = j}
local is_live = is_session and line.state and line.state ~= 'closed'
if is_session and ARGV[6] == '1' then
  if not is_live then return {'expired', line.close_reason or 'lost'} end
  if given(line.closing) then return {'expired', line.close_reason or 'closed'} end
end
if is_live and ARGV[12] ~= '' and line.profile ~= ARGV[12] then return {'profile_differs', line.profile} end
local idle_timeout_s, max_age_s, beyond
if is_session and not is_live then idle_timeout_s, max_age_s, beyond = session_times(ARGV[13], ARGV[14]) end
if beyond then return beyond end
local profile = ARGV[12] ~= '' and ARGV[12] or (is_live and line.profile) or 'default'

local which, retry_after, bound = over_quota(tenant, is_session and not is_live, true)
if which then return refused(which, retry_after, bound) end
j.priority, j.tenant, j.line = ARGV[16], tenant, line_id
local backlog = K.queue .. class_of(j) .. K.queued
local queue_max = allowed('queue_max_jobs')
if is_full(queue_max, backlog) then return {'full', '1', call('SCARD', backlog), string.format('%.0f', queue_max)} end
local blobs = ARGV[11] ~= '' and cjson.decode(ARGV[11]) or {}
for _, blob in ipairs(blobs) do
  if call('EXISTS', K.blob .. blob) == 0 then return {'blob_gone', blob} end
end

-- Effects.
if is_session and not is_live then open_session(line, tenant, profile, idle_timeout_s, max_age_s) end
local was_empty = not is_session or not head_of(line)
local before = is_session and call('LLEN', line.pending) or 0
local runnable = K.queue .. queue_of(line, j) .. K.waiting
local position = before + call('ZCARD', runnable)
checked[runnable] = 'zset'

set(j, 'state', 'queued', 'line', line_id, 'tenant', tenant, 'session', ARGV[5], 'must_exist', ARGV[6],
  'digest', ARGV[7], 'idem', ARGV[8], 'expires_at', ARGV[9] ~= '' and string.format('%.6f', now + ARGV[9]) or '',
  'batch', ARGV[10], 'blobs', ARGV[11], 'profile', profile, 'result_ttl_s', ARGV[15], 'priority', ARGV[16],
  'wake_head', ARGV[17], 'wake_tail', ARGV[18], 'queue', queue_of(line, j), 'submitted_at', NOW,
  'claims', 0, 'starts', 0, 'runs', 0, 'node', '', 'lease', '')
set(j, unpack(ARGV, 19))
write('XADD', j.key .. K.events, '0-1', 'type', 'queued', 'at', NOW, 'json',
  string.format('{"queue":%s,"position":%d}', cjson.encode(j.queue), position))
write('PUBLISH', K.bell, id)
if idem then write('SET', idem, id .. ' ' .. ARGV[7]) end
write('SADD', K.tenant .. tenant .. K.queued, id)
write('SADD', backlog, id)
write('ZADD', K.tenant .. tenant .. K.recent, now, id)
write('ZREMRANGEBYRANK', K.tenant .. tenant .. K.recent, 0, -10001)
local per_minute, left, reset_s = count_submit(tenant)
for _, blob in ipairs(blobs) do
  write('PERSIST', K.blob .. blob)
  write('SADD', K.blob .. blob .. K.jobs, id)
end
if batch then
  if not batch.tenant then set(batch, 'tenant', tenant, 'created_at', NOW, 'done', 0, 'sealed', '', 'cancelled', '') end
  set(batch, 'total', num(batch.total) + 1, 'result_ttl_s', ARGV[15])
  write('HSETNX', j.key, 'batch_index', num(batch.total) - 1)
  write('RPUSH', batch.key .. K.jobs, id)
  write('ZADD', K.batches, now, ARGV[10])
end
if given(j.expires_at) then write('ZADD', K.expiring, j.expires_at, id) end
if is_session then
  write('RPUSH', line.pending, id)
  if was_empty then
    write('PERSIST', line.key)
    line.head = j
  end
end
j.wake = {ARGV[17], ARGV[18]}
local queue = ''
-- A wake-up for a tenant that runs all it may would only stand in the way of others'.
if was_empty and runs_enough(tenant) then park(line, j) elseif was_empty then queue = rouse(line) end
commit()
return {'accepted', id, position, queue, per_minute, left, reset_s}
